"""HTTP/1.1 as bytes: what is read of messages, and what is sent on of them. No input or output.

A message is validated against the grammar of RFC 9110 and RFC 9112 with no leniency, and sent on as the bytes that
came, with few edits: who is stricter than both neighbours is never read in two ways by them.
"""
