//go:build !unix

package notify

import "os/exec"

// ownGroup does nothing: a timeout kills only the command itself.
func ownGroup(*exec.Cmd) {}
