"""The mail relay daemon: SMTP in, policy, queue, delivery."""
