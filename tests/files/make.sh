#!/usr/bin/env bash
# The handbook as other programs write it: what the loaders meet in the world, not what our own tests would make.
# Needs pandoc 2.17 and LibreOffice 7.4 or newer (Debian: pandoc, libreoffice-writer-nogui, libreoffice-calc-nogui).
set -euo pipefail
cd "$(dirname "$0")"
for kind in docx odt epub pptx rtf ipynb; do
  pandoc --standalone handbook.md -o "pandoc.$kind"
done
cp pandoc.docx writer.docx
for kind in odt rtf html; do
  soffice --headless --convert-to "$kind" writer.docx >/dev/null
done
soffice --headless --convert-to docx writer.odt >/dev/null
soffice --headless --infilter=CSV:44,34,76,1 --convert-to xlsx:"Calc MS Excel 2007 XML" stock.csv >/dev/null
mv stock.xlsx calc.xlsx
