package pool

// Key says as whom, and with which database and protocol, a conn works. The
// zero Key is what the client was configured with.
type Key struct {
	User      string
	DB, Proto int
}

// Group is the conns of one key.
type Group struct{ *Pool }

func (p *Pool) Group(k Key) Group { return Group{p} }
