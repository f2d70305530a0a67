"""Pictures and recordings -> pixels and samples, whatever their format.

    picture.py   png jpg webp gif tiff bmp -> an upright RGB picture
    sound.py     wav flac mp3 ogg aiff -> mono samples at the rate that is wanted, in windows

Below load and embed, because both need it: the guarded worker decodes what lies in the folder, and the embedders
decode what they are handed. Errors are DocumentErrors that don't repeat the path: whoever reports them has it.
"""

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp")  # suffixes
SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff")
DECODER_VERSION = 1  # raise it when the same bytes give other pixels or samples: they are then embedded again
