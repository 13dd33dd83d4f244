package turns

// Window is how many requests of a client may be pending at a time while the sizes of their replies are only guessed. A client
// with a new connection starts with none. The window grows with the replies that come while the client uses all of it, so only
// a client that sends pipelines has a wide one. A reply that is much larger than expected ends that. The zero Window is that of a
// new client.
type Window uint8

// wide is the window without a limit.
const wide Window = 255

// Allows reports whether a client may take another request while some are pending. more reports that it has sent further ones.
// The replies to single requests tell nothing about a pipeline.
func (w Window) Allows(pending int, more bool) bool {
	return w == wide || pending < int(w) && (w > 1 || !more)
}

// Narrow reports whether the client has sent no pipeline.
func (w Window) Narrow() bool { return w <= 1 }

// Note notes n replies of a size in all, while some are pending, with these. waits reports that the client has further requests.
func (w *Window) Note(n, pending int, waits bool, size int, e Expected) {
	if size >= apart && size > 2*e.Bytes() {
		*w = 1
		return
	}
	for ; n > 0 && *w < wide; n-- {
		if *w > 0 && !(waits && 2*pending > int(*w)) && !(pending > 1 && pending >= int(*w)) {
			return
		}
		*w++
	}
}

// Resumes reports whether a client that waits for the window may go on: it takes many requests at a time.
func (w Window) Resumes(pending int) bool { return w == wide || 2*pending <= int(w) }
