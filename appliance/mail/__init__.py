"""The words of mail: addresses, domains, envelopes, replies, messages. Standard library only."""
