package gateway_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// loops is Config.Loops of the gateways of the tests that do not set it.
var loops = flag.Int("loops", 1, "event loops of each gateway")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
