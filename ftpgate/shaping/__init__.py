"""Who may send how much: one rate for each customer, over all connections and both protocols."""
