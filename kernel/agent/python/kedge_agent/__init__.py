"""The part of Kedge that lives in the kernel. PROTOCOL.md describes its messages."""
