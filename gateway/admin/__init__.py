"""Pages at `/admin` for operators: users, organisations, projects, keys, held rows, dead letters, webhooks, audit log.

They are plain Flask templates over the functions that the HTTP API calls, so the same rules and the same audit rows
hold. Flask-Admin is not used: its model views write rows past those rules, and its pages need scripts inside the
HTML, which the policy of this site does not let run; without both, little of it would be left.

Each page works without scripts. What cannot be undone has a page of its own that asks first. Every form carries the
token of its session, whoever sends it and however they signed in.
"""
