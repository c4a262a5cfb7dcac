"""The shop's web site on Django, and the `Bridge` through which the gate reaches its database."""
