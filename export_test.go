package respool

// Identities counts what a client keeps of the users of a gateway's clients: users, passwords and hubs.
func Identities(c *Client) (users, passwords, hubs int) {
	g := &c.guests
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, who := range g.identities {
		passwords += len(who.logins)
		if who.hub != nil {
			hubs++
		}
	}
	return len(g.identities), passwords, hubs
}
