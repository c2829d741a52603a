"""Words of mail: addresses, envelopes, replies, trace fields, reports. Standard library only."""
