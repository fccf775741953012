"""The demonstration: one door from claim to chain check, with real processes, and nothing taken for granted."""
