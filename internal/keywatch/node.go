package keywatch

// Node watches the keys of one owner at one node: a Set with its Watcher. All methods are safe for concurrent use. The
// caller must close it.
type Node struct {
	set      *Set
	watchers []*Watcher
}

// NewNode returns a Node without keys. It opens no connection.
func NewNode(source Source, cfg Config, keys SetConfig) *Node {
	w := New(source, cfg)
	return &Node{set: NewSet(w, keys), watchers: []*Watcher{w}}
}

// Add watches a key. See Set.Add.
func (n *Node) Add(key string) { n.set.Add(key) }

// Drop ends the interest in a key. See Set.Drop.
func (n *Node) Drop(key string) { n.set.Drop(key) }

// Again applies a change of SetConfig.Polling.
func (n *Node) Again() { n.set.Again() }

// Watchers returns the Watcher. The caller must not change the slice.
func (n *Node) Watchers() []*Watcher { return n.watchers }

// Stats returns the figures of the Watcher.
func (n *Node) Stats() Stats { return n.watchers[0].Stats() }

// Close ends all watches, and waits for running notifications and for the goroutines. It must not be called by a
// Subscriber.
func (n *Node) Close() {
	n.set.Close()
	n.watchers[0].Close()
}
