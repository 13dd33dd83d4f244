package multislot_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/multislot"
	"pgregory.net/rapid"
)

func TestCursorsNameTheirNode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.IntRange(0, 1023).Draw(t, "number")
		own := fmt.Sprint(rapid.Uint64Range(0, math.MaxUint64>>10).Draw(t, "own"))
		cursor, err := multislot.JoinCursor(number, own)
		if err != nil {
			t.Fatal(err)
		}
		if n, o, err := multislot.SplitCursor(cursor); n != number || o != own || err != nil {
			t.Errorf("%s is node %d, cursor %s, %v: want %d, %s", cursor, n, o, err, number, own)
		}
		if (cursor == "0") != (number == 0 && own == "0") {
			t.Errorf("node %d, cursor %s is %s", number, own, cursor)
		}
	})
	if _, err := multislot.JoinCursor(1, fmt.Sprint(uint64(1)<<54)); !errors.Is(err, multislot.ErrCursorTooLarge) {
		t.Errorf("a cursor of 55 bits: %v", err)
	}
	for _, text := range []string{"", "x", "-1", "1.5", "18446744073709551616"} {
		if _, _, err := multislot.SplitCursor(text); !errors.Is(err, multislot.ErrCursor) {
			t.Errorf("cursor %q: %v", text, err)
		}
	}
}

func TestOrdinalsKeepTheirNodes(t *testing.T) {
	var o multislot.Ordinals
	next := func(from int, present string, number int, want string) {
		t.Helper()
		n, addr, ok, err := o.Next(from, strings.Fields(present))
		if err != nil || ok != (want != "") || addr != want || n != number {
			t.Errorf("from %d of %s: %d %q %t %v: want %d %q", from, present, n, addr, ok, err, number, want)
		}
	}
	next(0, "b a", 0, "a")
	next(1, "b a", 1, "b")
	next(2, "b a", 0, "")
	next(0, "c b", 1, "b") // a has left, c is new
	next(2, "c b", 2, "c")
	next(0, "c b a", 0, "a") // a returns
	for i := range 1100 {
		_, _, _, err := o.Next(0, []string{fmt.Sprint(i)})
		if wrong := !errors.Is(err, multislot.ErrManyPrimaries); wrong != (i < 1021) {
			t.Fatalf("node %d: %v", i, err)
		}
	}
}

func TestClaims(t *testing.T) {
	read := func(epoch, slots string) *multislot.Claims {
		return multislot.ReadClaims("aa 127.0.0.1:1@2 master - 0 0 9 connected 7-8\nbb 127.0.0.1:3@4,host myself,master - 0 0 " + epoch + " connected " + slots + "\n")
	}
	before := read("5", "0-2 4 [4->-aa]")
	for n := range command.Slots {
		if want := n <= 2 || n == 4; before.Owned[n] != want {
			t.Errorf("slot %d: owned %t", n, before.Owned[n])
		}
	}
	for _, c := range []struct {
		epoch, slots string
		want         bool
	}{
		{"5", "0-2 4", false}, {"5", "0-1", false}, {"5", "", false}, {"6", "0-2 4", true}, {"5", "0-4", true}, {"5", "0-2 4 [9-<-aa]", true},
	} {
		if got := read(c.epoch, c.slots).Received(before); got != c.want {
			t.Errorf("epoch %s, slots %s: received %t", c.epoch, c.slots, got)
		}
	}
	arriving := read("5", "0-2 [9-<-aa]")
	if !arriving.Received(arriving) || arriving.Received(arriving.Arrived()) {
		t.Error("a slot whose keys arrive is a reason to scan once")
	}
	for _, slot := range []int{0, 1, 5000, command.Slots - 1} {
		if got := command.Slot(multislot.KeyIn(slot)); got != slot {
			t.Errorf("the key for slot %d lies in %d", slot, got)
		}
	}
	if c := multislot.ReadClaims("garbage\nxx y myself - 0 0 1 c 99999-100000 -5 a-b [\n"); c.Owned[0] {
		t.Error("a malformed reply claims slots")
	}
}
