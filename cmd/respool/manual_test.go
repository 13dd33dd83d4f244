package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
)

func TestTheManualPageHasEachCommandAndFlag(t *testing.T) {
	code, page, errs := call(t, "man")
	if code != 0 || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for line := range strings.Lines(page) {
		macro, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(macro, ".") && !strings.Contains(" .TH .SH .SS .TP .PP .B .I .nf .fi ", " "+macro+" ") || strings.HasPrefix(macro, "'") {
			t.Errorf("%s: want no text at the place of a macro", line)
		}
	}
	var c cli
	parser, err := newParser(&c, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range parser.Model.Children {
		_, section, found := strings.Cut(page, ".SS \"respool "+command.Name)
		section, _, _ = strings.Cut(section, ".SS ")
		if !found {
			t.Errorf("%s is missing", command.Name)
		}
		for _, f := range command.Flags {
			if name := `\fB` + strings.ReplaceAll("--"+f.Name, "-", `\-`) + `\fR`; !f.Hidden && !strings.Contains(section, name) {
				t.Errorf("%s --%s is missing", command.Name, f.Name)
			}
		}
	}
}

// complete returns the words that bash offers for the last word of a command line.
func complete(t *testing.T, script string, line ...string) string {
	t.Helper()
	text := `. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _respool; printf '%s ' "${COMPREPLY[@]}"`
	out, err := exec.Command("bash", append([]string{"-c", text, "bash", script}, line...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestBashCompletesCommandsFlagsAndValues(t *testing.T) {
	code, text, errs := call(t, "completion", "bash")
	if code != 0 || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	script := tooltest.File(t, "respool.bash", text)
	for line, want := range map[string]string{
		"respool ser":                      "serve",
		"respool d":                        "doctor demo drill dashboard",
		"respool serve --print":            "--print-config",
		"respool watch --pro":              "--profile",
		"respool completion f":             "fish",
		"respool serve --config " + script: script,
		"respool serve --max-clients ":     "",
		"respool unknown --":               "",
	} {
		words := strings.Split(line, " ")
		if got := complete(t, script, words...); got != want {
			t.Errorf("%s: %q: want %q", line, got, want)
		}
	}
}

func TestTheScriptsOfZshAndFishHaveEachCommand(t *testing.T) {
	var c cli
	parser, err := newParser(&c, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	for shell, forms := range map[string][2]string{"zsh": {"\n\t%)\n", "'*--print-config["}, "fish": {" -f -a % -d ", " -l print-config -d "}} {
		code, text, errs := call(t, "completion", shell)
		if code != 0 || errs != "" || !strings.Contains(text, forms[1]) {
			t.Errorf("exit %d: %s%s", code, errs, text)
		}
		for _, command := range parser.Model.Children {
			if !strings.Contains(text, strings.ReplaceAll(forms[0], "%", command.Name)) {
				t.Errorf("%s: %s is missing", shell, command.Name)
			}
		}
	}
	if code, _, errs := call(t, "completion", "csh"); code != 2 || !strings.Contains(errs, "bash") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
