package sentinel

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

func decode(t *testing.T, text string) resp.Value {
	t.Helper()
	v, _, err := resp.Decode([]byte(strings.ReplaceAll(text, "|", "\r\n")))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return v
}

func TestAnswersToRole(t *testing.T) {
	const malformed = "does not answer ROLE: its answer is malformed"
	for reply, want := range map[string]string{
		"*2|$6|master|:7|":                            "says that it is a primary",
		"*5|$5|slave|$1|A|:6379|$9|connected|:7|":     "says that it is a replica of A:6379",
		"*2|$8|sentinel|*0|":                          "says that it is a sentinel",
		"-NOPERM no ROLE for 'alice'|":                "does not answer ROLE: NOPERM no ROLE for ...",
		"+master|":                                    malformed,
		"*0|":                                         malformed,
		"*1|$6|master|":                               malformed,
		"*2|$6|master|$1|7|":                          malformed,
		"*4|$5|slave|$1|A|:6379|$9|connected|":        malformed,
		"*5|$5|slave|$1|A|$4|6379|$9|connected|:7|":   malformed,
		"*5|$5|slave|$1|A|:65536|$9|connected|:7|":    malformed,
		"*5|$5|slave|$0||:6379|$9|connected|:7|":      malformed,
		"*5|$5|slave|$3|A/B|:6379|$9|connected|:7|":   malformed,
		"*5|$6|donkey|$1|A|:6379|$9|connected|:7|":    malformed,
		"*5|*0|$1|A|:6379|$9|connected|:7|":           malformed,
		"*5|$5|slave|$1|A|:6379|$9|connected|$1|7|":   malformed,
		"*5|$5|slave|$1|A|:-1|$9|connected|:7|":       malformed,
		"*3|$6|master|:7|*1|*3|$1|B|$4|6379|$1|7|":    "says that it is a primary",
		"*5|$5|slave|$9|localhost|:6379|$4|sync|:-1|": "says that it is a replica of localhost:6379",
		"*5|$5|slave|$3|::1|:6379|$4|sync|:0|":        "says that it is a replica of [::1]:6379",
		"*5|$5|slave|$3|A\nB|:6379|$4|sync|:0|":       malformed,
	} {
		if got := roleOf(Answer{Reply: decode(t, reply)}).Text(); got != want {
			t.Errorf("%q: %q: want %q", reply, got, want)
		}
	}
	if got, want := roleOf(Answer{Err: ErrSilent}).Text(), "does not answer ROLE: "; !strings.HasPrefix(got, want) || len(got) == len(want) {
		t.Errorf("without a reply: %q", got)
	}
}

func TestAnswersToMaster(t *testing.T) {
	all := []string{"ip", "A", "port", "6379", "flags", "master,o_down", "num-other-sentinels", "2", "config-epoch", "7"}
	array := func(words []string) string {
		text := fmt.Sprintf("*%d|", len(words))
		for _, w := range words {
			text += fmt.Sprintf("$%d|%s|", len(w), w)
		}
		return text
	}
	info, problem := masterOf(decode(t, array(all)))
	if problem != "" || info.addr != "A:6379" || info.others != 2 || info.epoch != 7 || !info.has("o_down") {
		t.Errorf("%+v, %q", info, problem)
	}
	for i, want := range map[int]string{
		0: "has no address", 2: "has no address", 4: "has no flags",
		6: "has no number of other sentinels", 8: "has no config epoch",
	} {
		without := append(append([]string{}, all[:i]...), all[i+2:]...)
		if _, problem := masterOf(decode(t, array(without))); problem != want {
			t.Errorf("without %s: %q: want %q", all[i], problem, want)
		}
	}
	for _, reply := range []string{"$-1|", "*-1|", "+OK|", "*3|$2|ip|$1|A|$4|port|", ":5|"} {
		if _, problem := masterOf(decode(t, reply)); problem != "is no list of names and values" {
			t.Errorf("%q: %q", reply, problem)
		}
	}
	if list, bad := instancesOf(decode(t, "+OK|")); list != nil || bad != 1 {
		t.Errorf("a string as a list of instances: %v, %d malformed", list, bad)
	}
}

func TestMalformedPushes(t *testing.T) {
	for payload, channel := range map[string]string{
		"mymaster A 6379 B 6379":                                "+switch-master",
		"master mymaster A 6379 #quorum 2/2":                    "+odown",
		"slave B:6379 B 6379 @ mymaster A 6379":                 "+sdown",
		"sentinel id 10.0.1.9 26379 @ mymaster A 6379 ignored ": "+sentinel",
	} {
		if msg, ok := parsePush(channel, payload); !ok || msg.service != "mymaster" {
			t.Errorf("%s %q: %+v, %v", channel, payload, msg, ok)
		}
	}
	for payload, channel := range map[string]string{
		"master mymaster A 6379 " + strings.Repeat("x", 4096): "+odown",
		" A 6379 B 6379":                          "+switch-master",
		"mymaster A 6379 B 6379 C":                "+switch-master",
		"mymaster A 0 B 6379":                     "+switch-master",
		"mymaster A 6379 B\n 6379":                "+switch-master",
		"master mymaster A":                       "+odown",
		"master  A 6379":                          "+odown",
		"master mymaster A 70000":                 "+odown",
		"slave B:6379 B 6379":                     "+sdown",
		"slave B:6379 B 6379 # mymaster A 6379":   "+sdown",
		"slave B:6379 B 6379 @  A 6379":           "+sdown",
		"slave B:6379 B 6379 @ mymaster A x":      "+sdown",
		"slave B:6379 B x @ mymaster A 6379":      "+sdown",
		"donkey B:6379 B 6379 @ mymaster A 6379":  "+sdown",
		"slave B:6379 B 6379 @ mymaster A " + "-": "+sdown",
	} {
		if msg, ok := parsePush(channel, payload); ok {
			t.Errorf("%s %q: %+v: want a refusal", channel, payload, msg)
		}
	}
}

func TestErrorsOfServers(t *testing.T) {
	for text, want := range map[string]Finding{
		"NOAUTH Authentication required.":               NeedsPassword,
		"WRONGPASS invalid username-password pair":      NeedsPassword,
		"NOPERM this user has no permissions":           NeedsPassword,
		"ERR Client sent AUTH, but no password is set":  NeedsPassword,
		"ERR invalid password":                          NeedsPassword,
		"ERR No such master with that name":             UnknownName,
		"ERR unknown command 'SENTINEL', with args":     NotSentinel,
		"ERR Unknown sentinel subcommand 'MASTER'":      NotSentinel,
		"ERR unknown subcommand 'MYID'. Try HELP.":      NotSentinel,
		"BUSY a script runs":                            Refused,
		"ERR value of \"secret\" is not what is wanted": Refused,
	} {
		got, detail := findingOf(resp.NewServerError(text))
		if got != want || strings.ContainsAny(detail, "'\"") {
			t.Errorf("%q: %v, %q: want %v", text, got, detail, want)
		}
	}
	if got, _ := findingOf(&resp.ProtocolError{}); got != NotSentinel {
		t.Errorf("bytes of another protocol: %v", got)
	}
	if got, _ := findingOf(fmt.Errorf("read: %w", resp.ErrTooLarge)); got != NotSentinel {
		t.Errorf("a reply that is too large: %v", got)
	}
	if got, _ := findingOf(errors.New("connection refused")); got != Unreachable {
		t.Errorf("a refused connection: %v", got)
	}
}

// What other programs report is remembered up to a limit.
func TestMemoryIsLimited(t *testing.T) {
	m := New(Config{Name: "mymaster", Sentinels: []string{"s0:26379"}, Rand: nil})
	m.Step(0, Start{})
	for i := range 2 * maxSentinels {
		m.learn(fmt.Sprintf("s%d:26379", i), fmt.Sprint("id", i))
	}
	if n := len(m.peers); n != maxSentinels || m.peers.at("s20:26379") != nil {
		t.Errorf("%d sentinels are known: want the first %d", n, maxSentinels)
	}
	m.peers.at("s5:26379").said.finding = Unreachable
	if m.learn("s20:26379", "id20"); len(m.peers) != maxSentinels || m.peers.at("s20:26379") == nil || m.peers.at("s5:26379") != nil {
		t.Errorf("a new sentinel did not replace the unreachable one: %d are known", len(m.peers))
	}

	list := resp.Value{Kind: resp.Array}
	for i := range 2 * maxReplicas {
		for range 2 {
			list.Elems = append(list.Elems, decode(t, fmt.Sprintf("*4|+ip|+R|+port|+%d|", 7000+i)))
		}
	}
	m.replicasAnswered(m.peers[0], list)
	if n := len(m.replicas.list); n != maxReplicas || m.replicas.list[maxReplicas-1].addr != fmt.Sprint("R:", 7000+maxReplicas-1) {
		t.Errorf("%d replicas are known: want the first %d", n, maxReplicas)
	}
	before := m.replicas.list
	m.replicasAnswered(m.peers[0], decode(t, "-ERR No such master|"))
	if len(m.replicas.list) != len(before) {
		t.Errorf("after an error %d replicas are known: want %d", len(m.replicas.list), len(before))
	}

	for i := range maxTargets + 2 {
		m.targets.aim(&m.step, fmt.Sprint("T:", 7000+i), "push", m.peers[0])
	}
	if n := len(m.targets); n != maxTargets || m.targets.at("T:7001") != nil || m.targets.at("T:7002") == nil {
		t.Errorf("%d addresses are under verification: want the last %d", n, maxTargets)
	}
}

// A node that never answers that it is a primary is not asked for ever.
func TestATargetThatIsNoPrimaryIsDropped(t *testing.T) {
	m := New(Config{Name: "mymaster", Sentinels: []string{"s0:26379"}})
	m.Step(0, Start{})
	m.targets.aim(&m.step, "T:7000", "push", m.peers[0])
	asked := 0
	for now := time.Duration(0); m.targets.at("T:7000") != nil && asked <= 2*maxTries; now += time.Second {
		probe := m.targets.at("T:7000").probe.seq
		if probe == 0 {
			m.Step(now, Evidence{})
			continue
		}
		asked++
		m.Step(now, Answer{Seq: probe, Reply: decode(t, "*5|$5|slave|$1|A|:6379|$9|connected|:7|")})
	}
	if asked != maxTries {
		t.Errorf("it was asked %d times: want %d", asked, maxTries)
	}
}
