package doctor

import "testing"

func TestTheCommandsOfARemedyHaveTheURLThatTheyAccept(t *testing.T) {
	const remedy = "find it (respool top URL); respool who URL --by service; respool kill URL --id 7 --yes; (respool who http://HOST:8637); respool doctor URL-OF-THE-SERVER; respool doctor URL"
	for _, c := range []struct{ url, want string }{
		{"", remedy},
		{"redis://h:1", "find it (respool top redis://h:1); respool who redis://h:1 --by service; respool kill redis://h:1 --id 7 --yes; (respool who http://HOST:8637); respool doctor URL-OF-THE-SERVER; respool doctor redis://h:1"},
		{"http://h:8637", "find it (respool top URL); respool who http://h:8637 --by service; respool kill URL --id 7 --yes; (respool who http://h:8637); respool doctor URL-OF-THE-SERVER; respool doctor http://h:8637"},
		{"http+unix:///s$1", "find it (respool top URL); respool who http+unix:///s$1 --by service; respool kill http+unix:///s$1 --id 7 --yes; (respool who http://HOST:8637); respool doctor URL-OF-THE-SERVER; respool doctor http+unix:///s$1"},
	} {
		if got := (&Report{URL: c.url}).filled(remedy); got != c.want {
			t.Errorf("%q:\n%s\nwant\n%s", c.url, got, c.want)
		}
	}
}
