package blocking

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

func values(args ...any) []any { return args }

func TestParserParsesValues(t *testing.T) {
	var p Parser
	type name string
	for _, tt := range []struct {
		args []any
		want []string // the same command as texts; nil: no form
	}{
		{values("BLPOP", "a", 1), []string{"BLPOP", "a", "1"}},
		{values("blpop", []byte("a"), "b", 0.25), []string{"BLPOP", "a", "b", "0.25"}},
		{values(name("BRPOP"), name("a"), time.Duration(0).Seconds()), []string{"BRPOP", "a", "0"}},
		{values("BLPOP", 7, uint8(3)), []string{"BLPOP", "7", "3"}},
		{values("BLPOP", "", name(""), 0), []string{"BLPOP", "", "", "0"}},
		{values("XREAD", "BLOCK", 5, "STREAMS", "s", "$"), []string{"XREAD", "BLOCK", "5", "STREAMS", "s", "$"}},
		{values("BLPOP", "a", "soon"), nil},
		{values("GET", "a"), nil},
	} {
		var args [][]byte
		for _, text := range tt.want {
			args = append(args, []byte(text))
		}
		want, _ := Parse(args)
		for range 3 { // the third form is a remembered one
			got, err := p.Parse(tt.args)
			if err != nil {
				t.Errorf("%v: %v", tt.args, err)
			}
			if (got == nil) != (want == nil) || got != nil && (!got.same(want) || got.timeout != want.timeout) {
				t.Errorf("%v: the form is %+v: want %+v", tt.args, got, want)
			}
		}
	}
}

func TestParserNamesTheArgumentThatCannotBeSent(t *testing.T) {
	var p Parser
	_, err := p.Parse(values("BLPOP", "a", "b", struct{}{}))
	if e, ok := err.(*resp.ArgumentError); !ok || e.Index != 3 {
		t.Errorf("error %v: want one that names argument 3", err)
	}
}

// Commands whose texts are the same if one joins them have different forms.
func TestParserTellsCommandsApart(t *testing.T) {
	var p Parser
	for range 3 {
		for _, keys := range [][]any{{"ab", "c"}, {"a", "bc"}, {"abc"}} {
			form, err := p.Parse(append(append(values("BLPOP"), keys...), "1"))
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%s", form.Keys()); got != fmt.Sprint(keys) {
				t.Errorf("the keys are %s: want %s", got, keys)
			}
		}
	}
}

func TestParserRemembersCommandsThatRepeat(t *testing.T) {
	var p Parser
	var forms [4]*Form
	for i := range forms {
		forms[i], _ = p.Parse(values("BLPOP", "a", 1))
	}
	if forms[2] == nil || forms[2] != forms[3] {
		t.Error("the form of a command that repeats is parsed again")
	}
}

func TestParserIsSafeForConcurrentUse(t *testing.T) {
	var p Parser
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 2000 {
				key := fmt.Sprint("k", (n+i)%3)
				form, err := p.Parse(values("BLPOP", key, 1))
				if err != nil || string(form.Keys()[0]) != key {
					t.Errorf("the form of BLPOP %s is %v, %v", key, form, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
