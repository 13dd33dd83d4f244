package respool

import (
	"slices"
	"testing"
)

func TestAddressesInURLsMayHaveZones(t *testing.T) {
	o, err := ParseURL("redis+sentinel://[fe80::1%25eth0]:26379,[fe80::2%25en-1]/mymaster")
	if want := []string{"[fe80::1%eth0]:26379", "[fe80::2%en-1]:26379"}; err != nil || !slices.Equal(o.Sentinel.Addrs, want) {
		t.Errorf("got %v, %v: want %v", o.Sentinel, err, want)
	}
	o, err = ParseURL("redis://[fe80::1%25eth0]:7000")
	if err != nil || o.Addr != "[fe80::1%eth0]:7000" {
		t.Errorf("got %v, %v", o, err)
	}
	for _, bad := range []string{"[fe80::1%25]:1", "[fe80::1%eth0]:1", "[fe80::1%25a%20b]:1", "s1%25eth0:1", "[fe80::1%25a%2]:1"} {
		if o, err := ParseURL("redis+sentinel://" + bad + "/mymaster"); err == nil {
			t.Errorf("%s became %v", bad, o.Sentinel.Addrs)
		}
	}
}
