#!/bin/bash
# Runs the example as a person would: results, repeatability, resuming, Ctrl-C, bad input.
# shellcheck source=tests/examples/sft_harness.sh
. "$(dirname "$0")/sft_harness.sh"

test_results() {
  "$sft" "${small[@]}" --steps 4 --out whole >out.txt 2>err.txt || fail "run: $(cat err.txt)"
  [ "$(wc -l <whole/metrics.jsonl)" = 4 ] || fail "metrics.jsonl has not one line a step"
  grep -q '"learning_rate":.*"loss":.*"step":4' whole/metrics.jsonl || fail "keys of the metrics"
  grep -q '^<svg' whole/loss.svg || fail "loss.svg is no picture"
  local said
  for said in "embedded backend" "tinkex/nano" "parameters trained" "Before:" "After:" \
    "step 1/4" "step 4/4" "tokens/s" "--resume"; do
    grep -qF -- "$said" out.txt || fail "the run did not say '$said'"
  done
  [ ! -s err.txt ] || fail "the run complained: $(cat err.txt)"
}

test_repeatable() {
  "$sft" "${small[@]}" --steps 4 --out again >/dev/null || fail "second run"
  [ "$(losses again)" = "$(losses whole)" ] || fail "the same seed gave other losses"
  "$sft" "${small[@]}" --steps 1 --seed 2 --out other >/dev/null || fail "run with another seed"
  [ "$(losses other)" != "$(losses whole | head -1)" ] || fail "the seed changes nothing"
}

test_resume() {
  "$sft" "${small[@]}" --steps 4 --stop-after 2 --out part >/dev/null || fail "part of a run"
  [ "$(wc -l <part/metrics.jsonl)" = 2 ] || fail "--stop-after 2 did not stop after 2 steps"
  mv part moved # A folder may go elsewhere.
  "$sft" --resume moved --threads 1 >out.txt 2>err.txt || fail "resume: $(cat err.txt)"
  [ "$(losses moved)" = "$(losses whole)" ] || fail "the resumed run went another way:
$(losses moved)
expected
$(losses whole)"
  "$sft" --resume moved >/dev/null 2>err.txt
  [ $? = 2 ] || fail "a run that is done was resumed"
  grep -q -- "--steps" err.txt || fail "no remedy for a run that is done"
  ! grep -q "^Before" out.txt || fail "a checkpoint was called the beginning: $(cat out.txt)"
  grep -q "^At step 2: .* exactly right" out.txt || fail "no word of the checkpoint: $(cat out.txt)"
  grep -q "^  prompt  *step 2  *after  *expected$" out.txt || fail "columns: $(cat out.txt)"
  ! grep -q -- "--merge" out.txt || fail "a model without files is to be merged: $(cat out.txt)"
  grep -o '"seconds":[0-9.]*' moved/metrics.jsonl | cut -d: -f2 >seconds.txt
  sort -n -c seconds.txt || fail "the seconds of a resumed run begin anew: $(cat seconds.txt)"
}

# stopped FOLDER SIGNAL CODE NAME: a run that the signal stops ends with the code, and is saved.
stopped() {
  local folder=$1 signal=$2 expected=$3 name=$4
  env --default-signal="$signal" "$sft" "${small[@]}" --steps 100000 --out "$folder" \
    >out.txt 2>err.txt &
  local pid=$!
  eventually "a first step in $folder" [ -s "$folder/metrics.jsonl" ]
  "$sft" --out "$folder" >/dev/null 2>second.txt
  [ $? = 2 ] || fail "a second run used the folder of the first"
  grep -q "is in use by another run" second.txt || fail "a second run: $(cat second.txt)"
  kill "-$signal" "$pid"
  ends "$pid" "$expected" "a run after SIG$signal"
  grep -q "Stopped by $name after" out.txt || fail "nothing said about $name: $(tail -n 5 out.txt)"
  grep -q "Stopping: steps that were sent end first" err.txt || fail "no answer to $name"
  local steps
  steps=$(wc -l <"$folder/metrics.jsonl")
  grep -q "\"step\": $steps,\?\$" "$folder/state.json" || fail "the checkpoint is not of step $steps"
}

# checkpoints FOLDER: the names of those that lie there.
checkpoints() { find "$1" -path '*/weights/[!.]*' -prune -printf '%f\n' | sort; }

# What a run has saved on the way is there after the worst of ends.
test_saves_on_the_way() {
  "$sft" "${small[@]}" --steps 100000 --save-every 3 --out killed >/dev/null 2>err.txt &
  local pid=$! steps
  eventually "a save on the way" [ -s killed/state.json ]
  kill -KILL "$pid"
  ends "$pid" 137 "a run after SIGKILL"
  local recorded
  recorded=$(sed -n 's,.*"checkpoint": ".*/weights/\(.*\)".*,\1,p' killed/state.json)
  [[ $recorded = on-the-way-* ]] || fail "nothing was saved on the way"
  checkpoints killed/backend | grep -qx "$recorded" || fail "what is recorded was deleted"
  "$sft" --resume killed --save-every 3 --stop-after 5 --threads 1 >out.txt 2>err.txt ||
    fail "to go on after SIGKILL: $(cat err.txt)"
  steps=$(wc -l <killed/metrics.jsonl) # However many it had made.
  "$sft" "${small[@]}" --steps 100000 --stop-after "$steps" --out undisturbed >/dev/null ||
    fail "a run of $steps steps"
  ! checkpoints killed/backend | grep -qx "$recorded" || fail "a superseded checkpoint has stayed"
  [ "$(losses killed)" = "$(losses undisturbed)" ] || fail "losses after SIGKILL: $(losses killed)"
  "$sft" "${small[@]}" --steps 7 --save-every 2 --out saved >/dev/null || fail "a run that saves"
  [ "$(checkpoints saved/backend)" = step-7 ] || fail "more stays than the last checkpoint:
$(checkpoints saved/backend)"
  "$sft" "${small[@]}" --steps 40 --save-every 2 --learning-rate 1e30 --out exploded >/dev/null \
    2>err.txt
  [ $? = 2 ] || fail "exit code of a loss that is no number"
  [ ! -e exploded/state.json ] || fail "a model that went astray was recorded"
  "$sft" "${small[@]}" --steps 1 --learning-rate 1e30 --out ruined >/dev/null 2>err.txt
  [ $? = 2 ] || fail "exit code of a last step that ruins the model"
  [ ! -e ruined/state.json ] || fail "a model that its last step ruined was recorded"
  grep -q "^sft: step 1 has ruined the model (lower --learning-rate): " err.txt ||
    fail "a last step that ruins the model: $(cat err.txt)"
}

# Every thread stands still, which is some time after SIGSTOP was sent.
is_frozen() { ! grep -h '^State:' "/proc/$1"/task/*/status | grep -qv stopped; }

# A run that fails says what it can go on from.
test_fails_on_the_way() {
  "$sft" "${small[@]}" --steps 100000 --save-every 2 --out broken >/dev/null 2>err.txt &
  local pid=$!
  eventually "a save on the way" [ -s broken/state.json ]
  # The next save finds no folder. One between the two commands would make it anew.
  kill -STOP "$pid"
  eventually "a run that stands still" is_frozen "$pid"
  mv broken/backend broken/kept && : >broken/backend || hangs "to take the folder away"
  kill -CONT "$pid"
  ends "$pid" 1 "a run whose save fails"
  grep -q "^sft: step [0-9]* is saved; go on from it: sft --resume $PWD/broken\$" err.txt ||
    fail "no word of what is saved: $(cat err.txt)"
  [ "$(wc -l <err.txt)" = 2 ] || fail "more than the place and the reason: $(cat err.txt)"
  rm broken/backend && mv broken/kept broken/backend
  "$sft" --resume broken --stop-after 1 --threads 1 >out.txt 2>err.txt ||
    fail "to go on after a failure: $(cat err.txt)"
}

test_interrupt() {
  stopped stopped INT 130 Ctrl-C
  local steps
  steps=$(wc -l <stopped/metrics.jsonl)
  "$sft" --resume stopped --stop-after 1 --threads 1 >/dev/null || fail "resume after Ctrl-C"
  [ "$(wc -l <stopped/metrics.jsonl)" = $((steps + 1)) ] || fail "steps after Ctrl-C"
  [ "$(checkpoints stopped/backend)" = "on-the-way-$((steps + 1))" ] ||
    fail "what was saved at Ctrl-C has stayed: $(checkpoints stopped/backend)"
  stopped terminated TERM 143 SIGTERM
  ! grep -q "Ctrl-C" err.txt || fail "Ctrl-C was named though it was SIGTERM"
  stopped hung_up HUP 129 SIGHUP
}

# As nohup starts it: closing the terminal changes nothing.
test_ignored_hangup() {
  (
    trap '' HUP
    exec "$sft" "${small[@]}" --steps 100000 --out nohup >out.txt 2>err.txt
  ) &
  local pid=$!
  eventually "a first step under nohup" [ -s nohup/metrics.jsonl ]
  kill -HUP "$pid"
  kill -TERM "$pid"
  ends "$pid" 143 "a run that ignores SIGHUP, after SIGTERM"
}

# Nothing is lost before there is a model, so the first Ctrl-C ends the program.
test_interrupt_while_connecting() {
  python3 -c '
import socket, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
time.sleep(600)' >silent.txt &
  local server_pid=$!
  eventually "a silent server" [ -s silent.txt ]
  env --default-signal=INT "$sft" --base-url "http://127.0.0.1:$(cat silent.txt)" --out silent \
    >connecting.txt 2>err.txt &
  local pid=$!
  eventually "a run that connects" grep -q "Opening a model on http://127.0.0.1" connecting.txt
  kill -INT "$pid"
  ends "$pid" 130 "a run that connects, after Ctrl-C"
  [ ! -s err.txt ] || fail "Ctrl-C while connecting: $(cat err.txt)"
  kill "$server_pid"
}

test_damaged_checkpoint() {
  "$sft" "${small[@]}" --steps 4 --stop-after 1 --out damaged >/dev/null || fail "first step"
  local file
  file=$(find damaged/backend -name metadata.json | head -1)
  head -c 20 "$file" >cut.json
  cp cut.json "$file"
  "$sft" --resume damaged >/dev/null 2>err.txt && fail "a damaged checkpoint was resumed"
  grep -q "damaged/backend (restore that folder, or start anew with --out)" err.txt ||
    fail "a damaged checkpoint: $(cat err.txt)"
  [ "$(wc -l <err.txt)" = 1 ] || fail "a damaged checkpoint took more than a line"
}

# MKL would end the process as soon as LibTorch is loaded, in words of its own.
test_no_directory() {
  local program
  for program in "$sft" "$server"; do
    mkdir gone
    (cd gone && rmdir "$PWD" && exec "$program") >/dev/null 2>err.txt
    [ $? = 2 ] || fail "exit code of $program in a directory that is gone"
    grep -qx "${program##*/}: the working directory was removed; change to one that is there" err.txt ||
      fail "$program in a directory that is gone: $(cat err.txt)"
    [ "$(wc -l <err.txt)" = 1 ] || fail "more than a line: $(cat err.txt)"
  done
}

# `bazel run` names the directory; one that is gone by then is no reason not to run.
test_callers_directory() {
  BUILD_WORKING_DIRECTORY=$PWD/no_such "$sft" "${small[@]}" --steps 1 --out "$PWD/called" >/dev/null \
    2>err.txt || fail "a run in a directory that cannot be entered: $(cat err.txt)"
  grep -qx "sft: cannot enter $PWD/no_such, the directory that bazel was run in (No such file or directory); give absolute paths" \
    err.txt || fail "a directory that cannot be entered: $(cat err.txt)"
}

# What the program opens must not get the numbers of streams that are closed.
test_closed_streams() {
  "$sft" "${small[@]}" --steps 2 --out closed <&- >&- 2>&- || fail "run with closed streams"
  [ "$(wc -l <closed/metrics.jsonl)" = 2 ] || fail "text in $(cat closed/metrics.jsonl)"
  "$sft" --resume closed --steps 3 --threads 1 >/dev/null || fail "resume after closed streams"
}

test_lost_output() {
  local program
  for program in "$sft" "$server"; do
    "$program" --help >/dev/full 2>err.txt
    [ $? = 1 ] || fail "lost help of $program"
    [ "$(wc -l <err.txt)" = 1 ] || fail "lost help of $program: $(cat err.txt)"
  done
  "$sft" "${small[@]}" --steps 1 --out lost >/dev/full 2>err.txt
  [ $? = 1 ] || fail "lost output was called a success"
  grep -q "standard output could not be written" err.txt || fail "lost output: $(cat err.txt)"
  mkfifo unread.pipe
  exec 3<>unread.pipe 4>unread.pipe 3<&-
  "$sft" "${small[@]}" --steps 1 --out piped >&4 2>err.txt
  [ $? = 1 ] || fail "exit code with a pipe that nobody reads"
  exec 4>&-
  [ -s lost/state.json ] && [ -s piped/state.json ] || fail "a run whose output is lost is unsaved"
}

test_bad_data() {
  : >empty.jsonl
  printf '{"prompt": "a", "completion": "b"}\nnot json\n' >bad.jsonl
  printf 'ok\n\377\n' >latin.txt
  refused 2 "No such file" --data missing.jsonl
  refused 2 "has no examples" --data empty.jsonl
  refused 2 "bad.jsonl:2: is not JSON" --data bad.jsonl
  refused 2 "is not UTF-8" --data latin.txt
  refused 2 "must end in .jsonl or .txt" --data "$sft"
}

test_bad_options() {
  refused 2 "is unknown here; choose one of: tinkex/tiny" --base-model no/such
  refused 2 "/no/such.gguf: is no file or folder, and is unknown here" --base-model /no/such.gguf
  refused 2 "/no/such.gguf is no file or folder; give the path of one by --base-model" \
    --base-model /no/such.gguf --dtype bfloat16
  refused 2 "and tinkex/nano is built in; leave it out" --base-model tinkex/nano --dtype bfloat16
  : >a_file
  "$sft" "${small[@]}" --out a_file/run >out.txt 2>err.txt && fail "a folder in a file"
  grep -q "a_file/run: Not a directory; choose another --out" err.txt ||
    fail "a folder in a file: $(cat err.txt)"
  refused 2 "'0' is not a whole number from 1" --rank 0
  refused 2 "--rank 4096 for --base-model tinkex/nano: " --base-model tinkex/nano --rank 4096
  refused 2 "'fast' is not a positive number" --learning-rate fast
  refused 2 "'nan' is not a positive number" --learning-rate nan
  refused 2 "'-1' is not a positive number" --learning-rate -1
  refused 2 "at least one example" --batch-size 0
  refused 2 "'100000000' is not a whole number from 1 to 65536" --batch-size 100000000
  "$sft" --out whole >/dev/null 2>err.txt
  [ $? = 2 ] || fail "a run was overwritten"
  grep -q "holds a run already" err.txt || fail "no word about the run that is there"
}

test_bad_server() {
  refused 1 "127.0.0.1:9" --base-url http://127.0.0.1:9
  refused 2 "nonsense" --base-url nonsense
  "$sft" --out refused --base-url http://me:secret@127.0.0.1:9/?secret >out.txt 2>err.txt
  [ $? = 2 ] || fail "a password in the URL was taken"
  ! grep -q secret out.txt err.txt || fail "a password was shown: $(cat out.txt err.txt)"
}

# server_refused TEXT ARGUMENTS...
server_refused() {
  local text=$1
  shift
  "$server" "$@" >/dev/null 2>err.txt
  local code=$?
  [ "$code" = 2 ] || fail "exit code of local_server $*: $code"
  grep -qF -- "$text" err.txt || fail "local_server $* did not say '$text' but: $(cat err.txt)"
}

test_bad_server_options() {
  server_refused "--host: is empty" --host ""
  server_refused "the port by --port" --host 127.0.0.1:80
  server_refused "65535" --port 99999
  server_refused "65535" --port -1
  server_refused "local_server: --prot: there is no such option; did you mean --port?" --prot 80
  server_refused "local_server: --apikey: there is no such option; did you mean --api-key?" --apikey tml-secret
  ! grep -q secret err.txt || fail "a key was shown: $(cat err.txt)"
  server_refused "local_server: argument 3 (length 10) belongs to no option" --port 0 tml-secret
  ! grep -q secret err.txt || fail "a key was shown: $(cat err.txt)"
  # 08 is a number, and the name is looked up elsewhere.
  server_refused "needs an API key" --threads 08 --host 127.example.org
}

# An HTTP server whose every answer is the same words.
test_nonsense_server() {
  python3 -c '
import http.server
class Nonsense(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")
    do_GET = do_POST
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Nonsense)
print(server.server_port, flush=True)
server.serve_forever()' >port.txt &
  local pid=$!
  eventually "a server of nonsense" [ -s port.txt ]
  local url
  url=http://127.0.0.1:$(cat port.txt)
  refused 1 "cannot train on $url" --base-url "$url"
  kill "$pid"
}

test_server() {
  "$server" --port 0 --data-dir plain_server >plain_server.txt 2>&1 &
  local pid=$! url
  eventually "a server" grep -q 'http://' plain_server.txt
  url=$(grep -o 'http://[0-9.:]*' plain_server.txt | head -1)
  TINKER_BASE_URL=$url "$sft" "${small[@]}" --steps 4 --save-every 2 --out remote >out.txt 2>err.txt ||
    fail "run on a server: $(cat err.txt)"
  grep -q "the server at $url" out.txt || fail "the server was not named"
  [ "$(wc -l <remote/metrics.jsonl)" = 4 ] || fail "metrics of the run on a server"
  [ "$(checkpoints plain_server)" = step-4 ] || fail "on a server: $(checkpoints plain_server)"
  "$sft" --resume remote --steps 5 >/dev/null || fail "resume on a server"
  "$sft" "${small[@]}" --base-url "$url" --steps 4 --stop-after 2 --out lent >/dev/null ||
    fail "part of a run on a server"
  cp -r lent copied
  local run
  for run in lent copied; do # The copy needs what the run was stopped with, though that went on.
    "$sft" --resume "$run" --threads 1 >out.txt 2>err.txt || fail "$run goes on: $(cat err.txt)"
  done
  refused 2 "is unknown here" --base-url "$url" --base-model no/such
  mkdir -p on_this_machine
  refused 2 "on_this_machine: $url does not serve it" \
    --base-url "$url" --base-model on_this_machine
  TINKER_API_KEY=tml-key refused 2 "unset TINKER_BASE_URL and TINKER_API_KEY, and leave --base-url out" \
    --base-url "$url" --base-model on_this_machine
  refused 2 "--dtype bfloat16 is for a model from files in this process" \
    --base-url "$url" --dtype bfloat16
  kill -INT "$pid"
  ends "$pid" 0 "local_server after Ctrl-C"
}

test_full_disk() {
  # A limit on the size of files stands for a full disk: what is written fails the same way.
  (
    ulimit -f 8
    exec "$sft" "${small[@]}" --steps 2 --out full >out.txt 2>err.txt
  )
  local code=$?
  [ "$code" = 1 ] || fail "exit code on a full disk: $code"
  grep -qi "file too large" err.txt || fail "a full disk was called: $(cat err.txt)"
  [ "$(wc -l <err.txt)" = 1 ] || fail "a full disk took more than a line: $(cat err.txt)"
  [ ! -e full/state.json ] || fail "a checkpoint was recorded that is not there"
  [ -z "$(find full -name '*.safetensors' -o -name '*.part')" ] || fail "half files: $(find full)"
}

run_parts results repeatable resume saves_on_the_way fails_on_the_way \
  interrupt ignored_hangup interrupt_while_connecting \
  no_directory callers_directory damaged_checkpoint closed_streams lost_output bad_data \
  bad_options bad_server bad_server_options nonsense_server server full_disk
