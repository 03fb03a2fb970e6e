package pipeline

// SaveContexts writes what c remembers, as a run does.
func SaveContexts(c *Contexts, state string) error { return c.save(state) }

// Dirty says whether c has learned something since it was loaded.
func Dirty(c *Contexts) bool { return c.dirty }
