// Package monitor reads what servers tell of themselves and of those connected
// to them: INFO and CLIENT LIST, of Redis 6.2 and later and of Valkey. It is
// lenient, since fields differ between versions: what is there is read, what is
// not is left out, and nothing makes it fail but a reader's own error. Of two
// snapshots it tells what is wrong. It asks nobody, and judges no client.
package monitor
