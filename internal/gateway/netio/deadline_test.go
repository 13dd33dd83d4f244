package netio

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestADeadlineMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d deadline
		d.init()
		past := func() bool {
			synctest.Wait()
			return isClosed(d.wait())
		}
		d.set(time.Now().Add(time.Second))
		d.set(time.Now().Add(2 * time.Second))
		first := d.wait()
		if time.Sleep(1500 * time.Millisecond); past() {
			t.Error("it is past at its earlier time")
		}
		d.set(time.Time{})
		if time.Sleep(time.Second); past() {
			t.Error("it is past although it was removed")
		}
		d.set(time.Now().Add(time.Second))
		if time.Sleep(time.Second); !past() || !isClosed(first) {
			t.Error("it is not past at its time")
		}
		d.set(time.Now().Add(time.Second))
		if past() {
			t.Error("it is past before its next time")
		}
		d.set(time.Now().Add(-time.Second))
		if !past() {
			t.Error("it is not past although it was set to an earlier time")
		}
	})
}
