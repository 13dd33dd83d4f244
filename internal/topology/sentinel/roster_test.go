package sentinel

import "testing"

func TestTheRosterKnowsASentinelByAnyOfItsAddresses(t *testing.T) {
	first := &peer{addr: "10.0.0.1:26379", id: "a", configured: true}
	second := &peer{addr: "10.0.0.2:26379", alias: first}
	learned := &peer{addr: "10.0.0.3:26379", id: "c"}
	r := roster{first, second, learned}
	first.links[Subscription].seq = 7
	for _, x := range []struct {
		addr, id string
		want     bool
	}{
		{"10.0.0.2:26379", "", true},
		{"10.0.0.9:26379", "a", true},
		{"10.0.0.9:26379", "", false},
		{"10.0.0.9:26379", "b", false},
	} {
		if got := r.knows(x.addr, x.id); got != x.want {
			t.Errorf("knows %s with id %q: %v", x.addr, x.id, got)
		}
	}
	if r.at(learned.addr) != learned || r.at("10.0.0.9:26379") != nil {
		t.Error("the wrong sentinel has the address")
	}
	if p, l := r.linkOf(7); p != first || l != Subscription {
		t.Errorf("connection 7 is %v of %v", l, p)
	}
	if p, _ := r.linkOf(0); p != nil {
		t.Error("a sentinel without a connection has connection 0")
	}
	if r.evictable() != nil {
		t.Error("a sentinel that was not tried yet is evictable")
	}
	first.said.finding, learned.said.finding = Unreachable, Unreachable
	if r.evictable() != learned {
		t.Error("want the learned sentinel that cannot be reached")
	}
	r.remove(first)
	if len(r) != 2 || second.alias != nil {
		t.Errorf("%d sentinels are left, and the other address stays unused: %v", len(r), second.alias != nil)
	}
}
