"""Sinks: where notices of incidents go. One small file a service, and none knows the table the notices wait in.

base        Notice, and what sending comes to       settings     the sinks of funnelgate.yaml
message     the words, in one order for all         credentials  keys and addresses that stand in no file of settings
posting     one POST that ends in time              opening      settings to sinks
log, webhook (robots: the chats it knows), alertmanager, pagerduty, chat (apprise: Slack, mail, all else)

Recipe, a sink: a settings model and its line in `AnySink`, a file with a class that has `name` and `send`, a line in
`opening`. A sink never raises for what the other side does: it says Retry, or Dead where no time will heal it.
"""
