package lane_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// A push is nobody's reply: the error names the push, and every command may be tried again.
func TestABadPushIsBlamedOnNoCommand(t *testing.T) {
	large := strings.Repeat("x", 2000)
	for text, name := range map[string]string{
		">2\r\n$7\r\nmessage\r\n$2000\r\n" + large + "\r\n": `"message"`,
		">2\r\n+invalidate\r\n*1\r\n$-7\r\n":                `"invalidate"`,
		">2\r\n+in va lid\r\n$-7\r\n":                       "a push",
		">what\r\n":                                         "a push",
		"|1\r\n+k\r\n+v\r\n>2\r\n$5\r\nhello\r\n@\r\n":      `"hello"`,
		">99999999\r\n":                                     "a push",
	} {
		onEach(t, func(t *testing.T, over transport) {
			cfg := config()
			cfg.ReplyLimit = 1000
			k := connect(t, over, cfg, func(p *peer) {
				for range 4 {
					p.command()
				}
				p.send("+first\r\n" + text)
				p.drop()
			})
			defer k.close()
			first := k.start(background, lane.Options{}, "GET", "a")
			k.waitDepth(1)
			var others []<-chan result
			for range 3 {
				others = append(others, k.start(background, lane.Options{}, "GET", "b"))
			}
			if r := <-first; r.err != nil || string(r.frame) != "+first\r\n" {
				t.Errorf("%q: what came before it was lost: %q, %v", text, r.frame, r.err)
			}
			for _, ch := range others {
				err := (<-ch).err
				wantSent(t, err, true)
				var ce *lane.CollateralError
				if !errors.As(err, &ce) || lane.BadReply(err) || !strings.Contains(err.Error(), name) {
					t.Errorf("%q: a caller got %v: want no blame, and %s named", text, err, name)
				}
			}
			var pe *lane.PushError
			if !errors.As(k.Err(), &pe) || strings.Contains(k.Err().Error(), "xxx") {
				t.Errorf("%q: the lane died of %v", text, k.Err())
			}
		})
	}
}
