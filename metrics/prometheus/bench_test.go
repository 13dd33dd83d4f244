package respoolprom_test

import (
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

func BenchmarkOnEvent(b *testing.B) {
	p := somePool("orders", respool.Stats{})
	e := respool.Event{Kind: respool.EventReleased, Class: "dedicated", Duration: time.Millisecond}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p.OnEvent(e)
		}
	})
}
