"""A random play of everything that decides who hears what, and the rules that every socket's log is checked against."""
