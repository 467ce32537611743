package httpapi_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/httpapi"
	"github.com/innkeeper-auth/innkeeper/innkeepertest"
	"github.com/innkeeper-auth/innkeeper/password"
)

var exampleService = password.Policy{ServiceNames: []string{"example"}}

// refusedPasswords are passwords of lovelace there, each with the reason why it is
// refused. STANDARDS W1, W2.
var refusedPasswords = map[string]string{
	"kfqzmwp":                 "too_short",
	strings.Repeat("k", 999):  "too_common",
	strings.Repeat("k", 1025): "too_long",
	"P@ssw0rd2024":            "too_common",
	"Qwertyuiop1!":            "too_common",
	"my name is Lovelace":     "contains_username",
	"countess77 writes":       "contains_email",
	"for-3xample-only":        "contains_service_name",
}

// TestPasswordPolicy holds every way to a new password to the same rules.
func TestPasswordPolicy(t *testing.T) {
	inn := innkeepertest.New(t, &innkeepertest.Options{
		SignupOpen: true, PasswordPolicy: exampleService, SignInLimits: innkeeper.InsecureLimitNothing,
	})
	root := inn.AddUser("root")
	roles := []string{innkeeper.RoleAdmin}
	if _, err := inn.Authority.UpdateUser(t.Context(), root.ID, innkeeper.UserUpdate{Roles: &roles}, innkeeper.ActorOperator); err != nil {
		t.Fatal(err)
	}
	admin := bearer(inn.SignIn("root").AccessToken)
	signup := request(t, "POST", inn.URL+"/auth/signup",
		`{"username":"lovelace","email":"Countess77@example.org","delivery":"body","password":"`+innkeepertest.Password+`"}`)
	signup.want(t, 201, "")
	ada := bearer(signup.body["access_token"].(string))
	id := signup.member("user", "id").(string)

	for password, why := range refusedPasswords {
		for name, refused := range map[string]answer{
			"sign-up": request(t, "POST", inn.URL+"/auth/signup", `{"username":"Lovelace","email":"Countess77@example.org","password":"`+password+`"}`),
			"change":  request(t, "POST", inn.URL+"/auth/password", `{"current_password":"`+innkeepertest.Password+`","new_password":"`+password+`"}`, "Authorization", ada),
			"set":     request(t, "PUT", inn.URL+"/admin/users/"+id+"/password", `{"password":"`+password+`"}`, "Authorization", admin),
			"create":  request(t, "POST", inn.URL+"/admin/users", `{"username":"Lovelace","email":"Countess77@example.org","password":"`+password+`"}`, "Authorization", admin),
		} {
			if refused.status != 422 || refused.body["code"] != "password_rejected" || refused.body["why"] != why || refused.body["hint"] == nil {
				t.Errorf("%s with %.20s: got %s, want %s and a hint", name, password, refused.text, why)
			}
			wellFormed(t, refused)
			if strings.Contains(refused.text, password) {
				t.Errorf("%s repeats the password: %s", name, refused.text)
			}
		}
		if password == strings.Repeat("k", 999) {
			continue
		}
		// A sign-in is judged by the hash alone, and says nothing about the policy.
		wrong := request(t, "POST", inn.URL+"/auth/login", `{"username":"lovelace","password":"`+password+`"}`)
		wrong.want(t, 401, "invalid_credentials")
	}
}

// TestCheckPassword asks for the same judgments without doing anything.
func TestCheckPassword(t *testing.T) {
	var log bytes.Buffer
	inn := innkeepertest.New(t, &innkeepertest.Options{
		PasswordPolicy: exampleService,
		API:            httpapi.Config{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))},
	})
	judge := func(password string) answer {
		t.Helper()
		a := request(t, "POST", inn.URL+"/auth/password/check",
			fmt.Sprintf(`{"password":%q,"username":"lovelace","email":"Countess77@example.org"}`, password))
		a.want(t, 200, "")
		if a.header.Get("Cache-Control") != "no-store" || strings.Contains(a.text, password) && password != "" {
			t.Errorf("answered %v %s", a.header, a.text)
		}
		return a
	}
	for password, why := range refusedPasswords {
		a := judge(password)
		if a.body["accepted"] != false || a.body["why"] != why || a.body["score"] != 0.0 || a.body["hint"] == "" {
			t.Errorf("%.20s: got %s, want %s", password, a.text, why)
		}
	}
	for password, score := range map[string]float64{
		"monkey dragon": 0, "correct horse": 1, "kfqzmwpx": 2, "kfqzmwpxwj": 3, innkeepertest.Password: 4,
	} {
		a := judge(password)
		if a.body["accepted"] != true || a.body["why"] != nil || a.body["score"] != score || a.body["hint"] == "" {
			t.Errorf("%s: got %s, want %v", password, a.text, score)
		}
	}
	if strings.Contains(log.String(), "monkey") {
		t.Errorf("a password was logged: %s", log.String())
	}

	// It is no oracle: who exists makes no difference.
	before := judge("my name is Lovelace").text
	inn.AddUser("lovelace")
	if after := judge("my name is Lovelace").text; after != before {
		t.Errorf("%s, and %s once the user exists", before, after)
	}
	request(t, "POST", inn.URL+"/auth/password/check", `{}`).want(t, 400, "invalid_request")
	request(t, "POST", inn.URL+"/auth/password/check", `{"password":"x"}`, "Sec-Fetch-Site", "cross-site").want(t, 403, "cross_site_request")
}
