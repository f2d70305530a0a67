"""The servers over one Rag.

mcp/   Model Context Protocol for agent programs: stdio (`rag mcp`) and streamable HTTP
"""
