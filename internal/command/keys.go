package command

// KeySpec describes the positions of some of a command's keys among its arguments. The command itself is argument 0.
type KeySpec struct {
	// Keyword, if not empty, is an argument in upper case that precedes the first key.
	Keyword string
	// Begin is the index of the first key, or with Keyword, the index where the search for Keyword starts: upwards,
	// or if Begin is negative, downwards from that many arguments before the end.
	Begin int8
	// Counted: the argument at Begin is the number of keys, and the keys follow it.
	Counted bool
	// Optional: an empty key at Begin means that the keys are elsewhere.
	Optional bool
	// Last is the distance of the last key from the first, or if negative, from the end of the arguments: -1 is the
	// last argument. It does not apply to counted keys.
	Last int8
	// Step is the distance from a key to the next.
	Step int8
	// Limit, if above 1 and Last is -1, divides the arguments from the first key on into that many parts: keys fill
	// the first part.
	Limit int8
}
