"""HTTP/1.1 on asyncio Protocols and httptools: a server of whole messages, a pooled client, the admin port."""
