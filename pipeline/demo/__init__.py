"""The demo: seven days of arrivals with known faults and the truth about them, run, shown, and then broken.

arrivals, schedule, drawing, defects, sets, photos   what arrives        truth, found, detection   what must come of it
show, objects_page, cluster   run and told                               stage, story   the second act, in a copy
"""
