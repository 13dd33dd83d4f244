package resp_test

import (
	"errors"
	"testing"

	"github.com/seed-2b0d76a6/respool/resp"
)

func TestServerErrorsSplitIntoCodeAndMessage(t *testing.T) {
	for text, want := range map[string]resp.ServerError{
		"WRONGTYPE Operation against a key": {Code: "WRONGTYPE", Message: "Operation against a key"},
		"EXECABORT":                         {Code: "EXECABORT"},
		"unknown thing":                     {Code: "ERR", Message: "unknown thing"},
		"":                                  {Code: "ERR"},
	} {
		if got := resp.NewServerError(text); *got != want {
			t.Errorf("%q: %+v: want %+v", text, *got, want)
		}
	}
	err := error(resp.NewServerError("MOVED 3999 127.0.0.1:6381"))
	if err.Error() != "MOVED 3999 127.0.0.1:6381" || resp.NewServerError("LOADING").Error() != "LOADING" {
		t.Errorf("the text is %q", err)
	}
	if !errors.Is(err, &resp.ServerError{Code: "MOVED"}) || errors.Is(err, &resp.ServerError{Code: "ASK"}) ||
		errors.Is(err, &resp.ServerError{Code: "MOVED", Message: "1"}) || errors.Is(err, errors.New("x")) {
		t.Error("errors.Is does not go by the code and the message, if any")
	}
}
