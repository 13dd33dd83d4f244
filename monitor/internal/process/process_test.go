package process

import "testing"

func TestProgramsWithoutTheirSecrets(t *testing.T) {
	for want, args := range map[string][]string{
		"python3 worker.py":     {"python3", "/srv/worker.py", "--password=hush"},
		"python3.11 worker.py":  {"/usr/bin/python3.11", "-u", "-W", "ignore", "worker.py", "hush"},
		"python3 -m app.worker": {"python3", "-m", "app.worker", "hush"},
		"python3 -c":            {"python3", "-c", "hush"},
		"node server.js":        {"/usr/bin/node", "--require", "hush", "/srv/server.js"},
		"java -jar cart.jar":    {"java", "-Dpassword=hush", "-jar", "/srv/cart.jar", "hush"},
		"java com.example.Main": {"java", "-cp", "/hush", "com.example.Main", "hush"},
		"redis-cli":             {"redis-cli", "-a", "hush"},
		"nginx:":                {"nginx: worker process hush"},
		"php":                   {"php", "redis://:hush@host/"},
		"":                      {""},
	} {
		if got := programOf(args); got != want {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
}

func TestSocketsOfMappedAddressesAreEqual(t *testing.T) {
	a, ok := ParseSocket("127.0.0.1:50000", "127.0.0.1:6379")
	b, ok2 := ParseSocket("[::ffff:127.0.0.1]:50000", "[::ffff:127.0.0.1]:6379")
	if !ok || !ok2 || a != b || a.reverse().reverse() != a {
		t.Errorf("%v, %v", a, b)
	}
	for _, addrs := range [][2]string{{"/tmp/redis.sock:0", "/tmp/redis.sock:0"}, {"127.0.0.1:50000", ""}, {"", ""}, {"127.0.0.1:0", "127.0.0.1:6379"}} {
		if s, ok := ParseSocket(addrs[0], addrs[1]); ok {
			t.Errorf("%q: %v", addrs, s)
		}
	}
}
