"""What the contract, scenario, system and fault tests share: a signetd of their own, plain XMPP clients, a scripted compliance server."""
