package live

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
)

// longestText is the part of a sentence with names that a snapshot shows, in bytes.
const longestText = 4000

// cell returns a name as safe text.
func cell(s string) string { return output.Cell(output.Shorten(s, output.LongestName)) }

// prose returns a sentence as safe text.
func prose(s string) string { return output.Cell(output.Shorten(s, longestText)) }

// hashed begins the key of a group with a long name.
const hashed = "sha256:"

// keyOf returns the key of a group in snapshots and requests: that of the list of clients, unless it is long.
func keyOf(key string) string {
	if len(key) <= output.LongestName && !strings.HasPrefix(key, hashed) {
		return key
	}
	return fmt.Sprintf("%s%x", hashed, sha256.Sum256([]byte(key)))
}
