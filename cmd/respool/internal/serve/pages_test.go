package serve

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/seed-2b0d76a6/respool"
)

func TestTheSnapshotCountsWaits(t *testing.T) {
	text, err := json.Marshal(waitsOf(&respool.BlockingStats{Waiting: 3, Keys: 2, Refusal: errors.New("NOPERM"),
		Commands: map[string]respool.BlockingCount{"BLPOP": {Waiting: 3}, "XREAD": {Served: 1}}}))
	if want := `{"waiting":3,"keys":2,"commands":{"BLPOP":3},"dedicated":"NOPERM"}`; err != nil || string(text) != want {
		t.Errorf("%s, %v: want %s", text, err, want)
	}
}
