"""Former names: scripts written before the rooms import `config` and `identity` from here. Nothing else belongs here."""
