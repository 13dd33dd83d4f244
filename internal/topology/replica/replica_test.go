package replica

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

func TestADoubtedReplicaMustSayThatItIsHealthy(t *testing.T) {
	connected, broken := Role{Kind: "slave", Link: "connected"}, Role{Kind: "slave", Link: "connect"}
	var h Health
	if h.Reason(false) != "" || h.Reason(true) == "" {
		t.Errorf("before any answer: %q, and %q if one is needed", h.Reason(false), h.Reason(true))
	}
	if !h.Doubt() || h.Doubt() || h.Reason(false) == "" {
		t.Error("a doubt counts twice, or has no effect")
	}
	for _, role := range []Role{broken, {Problem: "no answer"}, {Kind: "master"}} {
		if h.Answered(role, 0, 0); h.Reason(false) == "" || !h.Doubted() {
			t.Errorf("%s: the replica is usable", role.Text())
		}
	}
	if h.Answered(connected, time.Second, 0); h.Reason(true) != "" || h.Doubted() || h.Trouble() != "" {
		t.Errorf("a healthy answer: %q", h.Reason(true))
	}
	if h.Answered(connected, 2*time.Second, time.Second); !strings.Contains(h.Reason(true), "lags by 2s") {
		t.Errorf("a lag above the limit: %q", h.Reason(true))
	}
}

func TestTheLagIsTheAgeOfTheFirstMissingWrite(t *testing.T) {
	var o Offsets
	for i := range 100 {
		o.Add(time.Duration(i)*time.Second, int64(10*i))
		o.Add(time.Duration(i)*time.Second+1, int64(10*i)) // no news
	}
	if len(o.samples) > maxSamples {
		t.Fatalf("%d samples", len(o.samples))
	}
	now := 100 * time.Second
	for offset, want := range map[int64]time.Duration{990: 0, 1000: 0, 989: time.Second, 975: 2 * time.Second, 0: time.Duration(maxSamples) * time.Second} {
		if lag := o.Lag(now, offset); lag != want {
			t.Errorf("offset %d: %v, want %v", offset, lag, want)
		}
	}
	if lag := (&Offsets{}).Lag(now, 5); lag != 0 {
		t.Errorf("without samples: %v", lag)
	}
}

func TestMalformedRolesAreNone(t *testing.T) {
	for _, text := range []string{"+OK\r\n", "*0\r\n", "*1\r\n$6\r\nmaster\r\n", "*3\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n", "-LOADING wait\r\n", "*1\r\n$5\r\nother\r\n"} {
		v, _, err := resp.Decode([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if role := RoleOf(v); role.Kind != "" || role.Problem == "" {
			t.Errorf("%q: %+v", text, role)
		}
	}
}
