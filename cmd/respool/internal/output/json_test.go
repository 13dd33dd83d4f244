package output

import (
	"encoding/json"
	"testing"
)

func TestTheVersionIsTheFirstFieldOfEachObject(t *testing.T) {
	for _, c := range []struct {
		object any
		want   string
	}{
		{struct{}{}, `{"schema":1}`},
		{struct {
			A int `json:"a"`
		}{7}, `{"schema":1,"a":7}`},
		{map[string]string{"k": "{"}, `{"schema":1,"k":"{"}`},
	} {
		got, err := json.Marshal(Versioned{c.object})
		if err != nil || string(got) != c.want {
			t.Errorf("%#v: %s, %v: want %s", c.object, got, err, c.want)
		}
	}
	for _, object := range []any{7, nil, []int{1}, func() {}} {
		if got, err := json.Marshal(Versioned{object}); err == nil {
			t.Errorf("%T: %s: want an error", object, got)
		}
	}
}
