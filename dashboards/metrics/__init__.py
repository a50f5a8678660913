"""What was booked, as figures for Prometheus.

families     every name with its help and labels           figures      reads all of them, at the moment of the scrape
books        those of tasks and days                       waiting      the outbox, and work that is not done
exposition   the text format
"""
