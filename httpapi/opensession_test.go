package httpapi_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
)

func TestOpenSession(t *testing.T) {
	inn := innkeepertest.New(t, nil)
	ada, boss, carol := inn.AddUser("ada", "mail:read"), inn.AddUser("boss"), inn.AddUser("carol")
	roles, yes := []string{innkeeper.RoleAdmin}, true
	for id, update := range map[innkeeper.UserID]innkeeper.UserUpdate{boss.ID: {Roles: &roles}, carol.ID: {Disabled: &yes}} {
		if _, err := inn.Authority.UpdateUser(t.Context(), id, update, innkeeper.ActorOperator); err != nil {
			t.Fatal(err)
		}
	}
	_, web := addService(t, inn, "web", innkeeper.ScopeSessionsCreate)
	_, root := addService(t, inn, "root", innkeeper.ScopeAdmin)
	open := func(token, body string) answer {
		t.Helper()
		return request(t, "POST", inn.URL+"/admin/sessions", body, "Authorization", bearer(token))
	}

	proved := inn.Clock.Now().Add(-time.Minute).Unix()
	opened := open(web, fmt.Sprintf(`{"user_id":%q,"amr":["hwk","user"],"auth_time":%d,"delivery":"body","device":"phone","ip":"2001:db8::7","user_agent":"Mosaic"}`, ada.ID, proved))
	opened.want(t, 201, "")
	login := request(t, "POST", inn.URL+"/auth/login", credentials+`,"delivery":"body"}`)
	for name := range login.body { // the same members as a sign-in
		if name == "device_token" { // no password was typed in here
			continue
		}
		if reflect.TypeOf(opened.body[name]) != reflect.TypeOf(login.body[name]) {
			t.Errorf("%s is %v", name, opened.body[name])
		}
	}
	if opened.header.Get("Cache-Control") != "no-store" || opened.header["Set-Cookie"] != nil {
		t.Errorf("headers %v", opened.header)
	}
	session := innkeepertest.Session{
		ID: opened.member("session", "id").(string), Generation: 1,
		AccessToken: opened.body["access_token"].(string), RefreshToken: opened.body["refresh_token"].(string),
	}
	me := request(t, "GET", inn.URL+"/auth/me", "", "Authorization", bearer(session.AccessToken))
	if me.member("session", "ip") != "2001:db8::7" || me.member("session", "user_agent") != "Mosaic" || me.member("session", "device") != "phone" {
		t.Errorf("me is %s", me.text)
	}
	_, api := addService(t, inn, "api", innkeeper.ScopeIntrospect)
	for range 2 { // and a refresh keeps it so
		a := postForm(t, inn.URL+"/oauth/introspect", "token", session.AccessToken, "", "Authorization", basic("api", api))
		if !reflect.DeepEqual(a.body["amr"], []any{"hwk", "user"}) || a.body["auth_time"] != float64(proved) {
			t.Errorf("the token says %s", a.text)
		}
		session = inn.Refresh(session)
	}

	// By cookie: for the back end to pass on.
	cookies := open(web, `{"username":"ada"}`)
	cookies.want(t, 201, "")
	if set := cookies.header["Set-Cookie"]; len(set) != 2 || !strings.HasPrefix(set[0], "__Secure-innkeeper-refresh=ikr_") || showsRefreshToken(cookies.text) {
		t.Errorf("set %v, answered %s", set, cookies.text)
	}

	for name, test := range map[string]struct {
		token, body string
		status      int
		code        string
	}{
		"nobody":                 {web, `{}`, 400, "invalid_request"},
		"both":                   {web, `{"user_id":"` + ada.ID.String() + `","username":"ada"}`, 400, "invalid_request"},
		"an unknown user":        {web, `{"username":"eve"}`, 404, "not_found"},
		"a malformed id":         {web, `{"user_id":"x"}`, 404, "not_found"},
		"a disabled user":        {web, `{"username":"carol"}`, 403, "forbidden"},
		"an administrator":       {web, `{"username":"boss"}`, 403, "forbidden"},
		"a port":                 {web, `{"username":"ada","ip":"192.0.2.1:80"}`, 400, "invalid_request"},
		"a zone":                 {web, `{"username":"ada","ip":"fe80::1%eth0"}`, 400, "invalid_request"},
		"the future":             {web, `{"username":"ada","auth_time":9999999999}`, 400, "invalid_request"},
		"long ago":               {web, `{"username":"ada","auth_time":1}`, 400, "invalid_request"},
		"the end of time":        {web, `{"username":"ada","auth_time":9223372036854775807}`, 400, "invalid_request"},
		"an unknown delivery":    {web, `{"username":"ada","delivery":"pigeon"}`, 400, "invalid_request"},
		"an odd method":          {web, `{"username":"ada","amr":["a b"]}`, 400, "invalid_request"},
		"a person who is none":   {session.AccessToken, `{"username":"ada"}`, 403, "forbidden"},
		"another scope":          {api, `{"username":"ada"}`, 403, "forbidden"},
		"admin for an admin":     {root, `{"username":"boss","delivery":"body"}`, 201, ""},
		"admin for anybody":      {root, `{"username":"ada","delivery":"body"}`, 201, ""},
		"a person with the role": {inn.SignIn("boss").AccessToken, `{"username":"boss","delivery":"body"}`, 201, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(test.token, test.body)
			a.want(t, test.status, test.code)
			if a.status >= 400 {
				wellFormed(t, a)
			}
		})
	}

	// A service that asks for an administrator is told of, like one that lacks any scope.
	log := request(t, "GET", inn.URL+"/admin/events?kind=service.refused", "", "Authorization", bearer(root))
	for _, service := range []string{"service:web", "service:api"} {
		if !strings.Contains(log.text, `"`+service+`"`) {
			t.Errorf("%s was refused, and the audit log says %s", service, log.text)
		}
	}
}
