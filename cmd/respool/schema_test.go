package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/planfile"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
)

// compiled is a schema that checks YAML texts.
func compiled(t *testing.T, kind string) func(text string) error {
	t.Helper()
	raw, err := json.Marshal(schemas()[kind])
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	if err := c.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return func(text string) error {
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			return err
		}
		raw, err := json.Marshal(value) // the validator takes the types of JSON
		if err != nil {
			return err
		}
		value, err = jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
		if err != nil {
			return err
		}
		return s.Validate(value)
	}
}

func TestTheSchemasOfTheDocsArePresent(t *testing.T) {
	for kind := range schemas() {
		file := "../../docs/schema/" + kind + ".json"
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if code, out, errs := call(t, "schema", kind); code != 0 || errs != "" || out != string(want) {
			t.Errorf("%s is not what respool schema %s prints (exit %d: %s): run make generate", file, kind, code, errs)
		}
	}
}

func TestTheSchemasAcceptTheExamples(t *testing.T) {
	texts := map[string][]string{"config": {tooltest.WatchConfig, tooltest.ServeConfig}}
	for _, file := range []string{"serve", "watch"} {
		text, err := os.ReadFile("../../examples/" + file + "/respool.yaml")
		if err != nil {
			t.Fatal(err)
		}
		texts["config"] = append(texts["config"], string(text))
	}
	texts["plan"] = []string{"server: {maxclients: 1000, reserve: 10%}\nservices: {a: {pods: 40, surge: 1, client: redis-py, load: {rps: 1.5, mean: 1ms, target: 1%}}}\n"}
	for kind, list := range texts {
		valid := compiled(t, kind)
		for _, text := range list {
			if err := valid(text); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
		for _, text := range []string{"unknown: 1", "[]", "serve: {max_clients: some}", "services: {}"} {
			if valid(text) == nil {
				t.Errorf("the schema of %s accepts %s", kind, text)
			}
		}
	}
}

// values are tried as the value of each key.
var values = []any{
	"text", "off", "none", "never", "log", "note", "error", "close", "single", "slot", "unbounded", "redis-py", "sh", "read",
	"0", "2ms", "10s", "1h2m", ".5s", "25%", "8MiB", "4096", "0660", "7.2.0", "${HOME}", "127.0.0.1:1", "redis://x", "http://x",
	"unix:///run/x", "systemd:x", tooltest.HashOfPassword, 0, 1, -1, 2.5, 660, 20_000_000, true, false, nil,
	[]any{}, []any{"read"}, []any{"sh", "-c"}, []any{"127.0.0.1:1"}, []any{tooltest.HashOfPassword}, []any{"log"}, []any{1},
	map[string]any{}, map[string]any{"x": 1}, map[string]any{"x": "y"}, map[string]any{"x": map[string]any{}},
}

// beside are keys that other keys need beside them, by the path of the mapping.
var beside = map[string]map[string]any{
	"serve":                   {"url": "redis://x"},
	"credentials":             {"command": []any{"sh"}},
	"serve/credentials":       {"command": []any{"sh"}},
	"serve/listen/0":          {"address": "unix:///run/x"},
	"serve/listen/0/tls":      {"cert": "c", "key": "k"},
	"tell/0/webhook":          {"url": "http://x"},
	"tell/0/alertmanager":     {"url": "http://x"},
	"tell/0/command":          {"run": []any{"sh"}},
	"services/name/load":      {"rps": 1, "mean": "1ms"},
	"services/name":           {"cpus": 1},
	"serve/listen/0 with tls": {"address": "127.0.0.1:1"},
	"serve with need_auth":    {"pass_through": true},
}

// eachKey calls do for the path of each key of a schema. The element 0 stands for an item of a list.
func eachKey(s, definitions map[string]any, path []string, do func(path []string)) {
	if ref, ok := s["$ref"].(string); ok {
		s = definitions[strings.TrimPrefix(ref, "#/definitions/")].(map[string]any)
	}
	for _, other := range list(s["anyOf"]) {
		eachKey(other.(map[string]any), definitions, path, do)
	}
	below := func(key string, of any) {
		at := append(append([]string{}, path...), key)
		do(at)
		eachKey(of.(map[string]any), definitions, at, do)
	}
	properties, _ := s["properties"].(map[string]any)
	for key, of := range properties {
		isRule := len(path) == 1 && path[0] == "rules"
		if key != "profiles" && (!isRule || key == "leak") { // all rules have the same keys
			below(key, of)
		}
	}
	if of, ok := s["additionalProperties"].(map[string]any); ok {
		below("name", of)
	}
	if of, ok := s["items"].(map[string]any); ok {
		eachKey(of, definitions, append(append([]string{}, path...), "0"), do)
	}
}

func list(v any) []any { l, _ := v.([]any); return l }

// document is a file with one value at a path, and what it needs beside it.
func document(base map[string]any, path []string, value any) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == "0" {
			value = []any{value}
			continue
		}
		at := strings.Join(path[:i], "/")
		if other := at + " with " + path[i]; beside[other] != nil {
			at = other
		}
		mapping := map[string]any{}
		siblings := beside[at]
		if i == 0 {
			siblings = base
		}
		for key, v := range siblings {
			mapping[key] = v
		}
		mapping[path[i]] = value
		if path[i] == "file" || path[i] == "env" { // of credentials: only one source
			delete(mapping, "command")
		}
		value = mapping
	}
	text, _ := json.Marshal(value)
	return string(text)
}

// What respool accepts as the value of a key, the schema accepts too; and it does not accept everything.
func TestTheSchemasAcceptWhatIsAccepted(t *testing.T) {
	plan, file := tooltest.File(t, "plan.yaml", "services: {a: {max_connections: 1}}\n"), tooltest.File(t, "x.yaml", "")
	accepts := map[string]func(text string) error{
		"config": func(text string) error {
			top, err := yamlnode.Parse("x", []byte(text), "")
			if err == nil {
				_, err = config.ParseServe(top)
			}
			return err
		},
		"plan": func(text string) error {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				return err
			}
			_, err := planfile.Read(file)
			return err
		},
	}
	bases := map[string]map[string]any{"config": {"url": "redis://x"}, "plan": {"services": map[string]any{"a": map[string]any{}}}}
	for kind, accept := range accepts {
		raw, err := json.Marshal(schemas()[kind])
		if err != nil {
			t.Fatal(err)
		}
		var s map[string]any
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		definitions, _ := s["definitions"].(map[string]any)
		valid := compiled(t, kind)
		seen := 0
		eachKey(s, definitions, nil, func(path []string) {
			seen++
			accepted, refused := 0, 0
			for _, value := range append([]any{plan}, values...) {
				text := document(bases[kind], path, value)
				wrong := accept(text)
				if wrong != nil && refused > 0 {
					continue // to save time
				}
				bad := valid(text)
				if wrong == nil {
					accepted++
				}
				if bad != nil {
					refused++
				}
				if wrong == nil && bad != nil {
					t.Errorf("respool accepts %s, and the schema does not: %v", text, bad)
				}
			}
			// A mapping needs keys, and those are tried too.
			last := path[len(path)-1]
			if mapping := last == "name" || last == "tls" || last == "load" || last == "webhook" || last == "alertmanager" || last == "command"; accepted == 0 && !mapping && last != "credentials" {
				t.Errorf("%s: respool accepts no value: %v", strings.Join(path, "."), accept(document(bases[kind], path, "text")))
			}
			if refused == 0 {
				t.Errorf("%s: the schema accepts everything", strings.Join(path, "."))
			}
		})
		if want := map[string]int{"config": 60, "plan": 20}[kind]; seen < want {
			t.Errorf("%s: %d keys: want %d or more", kind, seen, want)
		}
	}
}
