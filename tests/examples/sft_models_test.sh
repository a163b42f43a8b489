#!/bin/bash
# Runs the example with data of one's own and with models from files.
# shellcheck source=tests/examples/sft_harness.sh
. "$(dirname "$0")/sft_harness.sh"

test_own_data() {
  local at
  printf '%s\n' '{"prompt": "ping ", "completion": "pong"}' >pairs.jsonl
  printf '%s\n' '{"messages": [{"role": "user", "content": "a"},
 {"role": "assistant", "content": "b"}]}' | tr -d '\n' >>pairs.jsonl
  "$sft" "${small[@]}" --steps 2 --data pairs.jsonl --out pairs >out.txt || fail "jsonl"
  yes "the quick brown fox" | head -50 >fox.txt
  "$sft" "${small[@]}" --steps 2 --data fox.txt --out fox >out.txt || fail "txt"
  grep -q "prompts sampled" out.txt || fail "txt has no prompts"
  printf '{"prompt": "p", "completion": "%01000d"}\n' 0 >long.jsonl
  "$sft" "${small[@]}" --steps 1 --data long.jsonl --out long >out.txt || fail "long example"
  [ "$(grep -c "longer than the 256 tokens" out.txt)" = 1 ] || fail "the cut was not said once"
  for at in 1 2 3 4 5 6 7 8 9 10; do
    printf '{"prompt": "%0250d", "completion": "a long answer"}\n' "$at"
  done >unasked.jsonl
  "$sft" "${small[@]}" --steps 1 --data unasked.jsonl --out unasked >out.txt || fail "no prompts"
  grep -q "1 prompt left out, .* none is left, so nothing is sampled" out.txt ||
    fail "no word of prompts that do not fit: $(cat out.txt)"
  ! grep -q "^Sampling\|^Before\|^After\|prompts* sampled\|expected" out.txt ||
    fail "nothing was sampled and shown: $(cat out.txt)"
  printf '{"prompt": "%01000d", "completion": "c"}\n' 0 >full.jsonl
  refused 2 "every example's prompt alone fills" "${small[@]}" --data full.jsonl
  grep -q "plain lines, .*the model has no chat template" <<<"$("$sft" "${small[@]}" --steps 1 \
    --data pairs.jsonl --out plain)" || fail "no word of how dialogues are written"
}

# Models from files, with their own tokenizers: in this process, and on a server of this machine.
test_pretrained() {
  cp -rL "$models/models/qwen3" .
  cp -L "$models/llama.gguf" .
  printf '{"prompt": "%s>", "completion": "way"}\n' apple tea rice soap >words.jsonl
  local run=(--rank 2 --batch-size 4 --threads 1 --data "$PWD/words.jsonl")
  "$sft" "${run[@]}" --base-model qwen3/ --steps 2 --stop-after 1 --out folder >out.txt 2>err.txt ||
    fail "a model from a folder: $(cat err.txt)"
  grep -q "^Model: *qwen3, LoRA rank 2" out.txt || fail "the model's name: $(cat out.txt)"
  printf '%s' "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}" \
    "{% if add_generation_prompt %}<assistant>{% endif %}" >qwen3/chat_template.jinja
  printf '%s\n' '{"messages": [{"role": "user", "content": "ab"},
 {"role": "assistant", "content": "cd"}]}' | tr -d '\n' >chat.jsonl
  "$sft" "${run[@]:0:6}" --data chat.jsonl --base-model qwen3 --steps 1 --out chat >out.txt 2>err.txt ||
    fail "a dialogue by a chat template: $(cat err.txt)"
  grep -q "dialogues are written by the model's chat template" out.txt ||
    fail "no word of the chat template: $(cat out.txt)"
  grep -q "^  ab  " out.txt || fail "no question without the template: $(cat out.txt)"
  rm qwen3/chat_template.jinja
  mkdir -p elsewhere
  mv qwen3 away
  "$sft" --resume folder --threads 1 >out.txt 2>err.txt && fail "went on without its model"
  grep -q "the run's model is gone: there is no $PWD/qwen3; put it back" err.txt ||
    fail "no word of a model that is gone: $(cat err.txt)"
  "$sft" --resume folder --merge --threads 1 >out.txt 2>err.txt && fail "merged without its model"
  grep -q -- "--merge: the run's model is gone: there is no $PWD/qwen3; put it back" err.txt ||
    fail "no word of a model to merge that is gone: $(cat err.txt)"
  mv away qwen3
  (cd elsewhere && "$sft" --resume ../folder --threads 1) >out.txt 2>err.txt ||
    fail "to go on with a model from a folder: $(cat err.txt)"
  [ "$(wc -l <folder/metrics.jsonl)" = 2 ] || fail "steps with a model from a folder"
  "$sft" "${run[@]}" --base-model llama.gguf --dtype bfloat16 --steps 1 --out gguf >out.txt 2>err.txt ||
    fail "a model from a GGUF file: $(cat err.txt)"
  "$server" --port 0 --base-model llama.gguf >server.txt 2>err.txt &
  local pid=$!
  eventually "a server of llama.gguf" grep -q "Press Ctrl-C" server.txt
  grep -q "^Loading llama.gguf" server.txt || fail "nothing was said before a model was loaded"
  # From another folder: the server gives the tokenizer's place by its full path.
  (cd elsewhere && TINKER_BASE_URL=$(sed -n 's/^Serving .* on //p' ../server.txt) \
    "$sft" "${run[@]}" --base-model llama --steps 1 --out served) >out.txt 2>err.txt ||
    fail "a model on local_server: $(cat err.txt)"
  kill "$pid"
  ends "$pid" 0 "local_server after SIGTERM"
  refused 2 "reads only 64 tokens, but an order needs 320; give shorter texts of your own by --data" \
    --rank 2 --base-model qwen3
  refused 2 "--base-model $PWD/qwen3 with the default --rank of 32: " \
    --base-model qwen3 --data words.jsonl
  grep -q "expected 1 to [0-9]" err.txt || fail "no rank that will do: $(cat err.txt)"
  sed -i 's/soap/soup/' words.jsonl
  "$sft" --resume folder --steps 3 --threads 1 >out.txt 2>err.txt || fail "other data: $(cat err.txt)"
  grep -q "its examples are not those of the run until now" out.txt || fail "other data: $(cat out.txt)"
  printf '\x40' | dd of=qwen3/model.safetensors bs=1 conv=notrunc status=none \
    seek=$(($(stat -c %s qwen3/model.safetensors) - 1))
  "$sft" --resume folder --steps 4 --threads 1 >/dev/null 2>err.txt
  [ $? = 2 ] || fail "exit code with a model that has changed: $(cat err.txt)"
  grep -q "cannot go on with $PWD/qwen3 (restore that model as it was" err.txt ||
    fail "a model that has changed: $(cat err.txt)"
  rm qwen3/model.safetensors
  refused 1 "'$PWD/qwen3': is no folder of a model, it lacks model.safetensors; " --base-model qwen3
  refused 2 "is not there; give a tokenizer.json" --tokenizer nowhere.json
  "$server" --base-model qwen3 >/dev/null 2>err.txt && fail "local_server began without weights"
  grep -q "qwen3': is no folder .*lacks model.safetensors;" err.txt || fail "local_server about weights: $(cat err.txt)"
}

# The trained model for other programs: from a folder, and from a GGUF file.
test_merge() {
  cp -rL "$models/models/qwen2" .
  cp -L "$models/llama.gguf" plain.gguf
  printf '{"prompt": "%s>", "completion": "way"}\n' apple tea rice soap >fruit.jsonl
  local run=(--rank 2 --batch-size 4 --threads 1 --data "$PWD/fruit.jsonl" --merge) base
  for base in qwen2 plain.gguf; do
    "$sft" "${run[@]}" --base-model "$base" --steps 2 --stop-after 1 --out "from-$base" >out.txt \
      2>err.txt || fail "half a run that merges $base: $(cat err.txt)"
    [ ! -e "from-$base/merged" ] || fail "a run that stopped early was merged"
    ! grep -q "^Merge" out.txt || fail "a run that stopped early is to be merged: $(cat out.txt)"
    "$sft" --resume "from-$base" --merge --threads 1 >out.txt 2>err.txt ||
      fail "to merge $base: $(cat err.txt)"
    grep -q "^Merged: *$PWD/from-$base/merged\$" out.txt || fail "where it is: $(cat out.txt)"
    ! grep -q bfloat16 out.txt || fail "float32 was called bfloat16: $(cat out.txt)"
    "$sft" "${run[@]:0:8}" --base-model "from-$base/merged" --steps 1 --out "on-$base" >out.txt \
      2>err.txt || fail "to train on what was merged: $(cat err.txt)"
  done
  "$sft" --resume from-qwen2 --steps 3 --merge >/dev/null 2>err.txt
  [ $? = 2 ] || fail "a merged model was about to be replaced"
  grep -q "from-qwen2/merged is there already; move it away" err.txt || fail "$(cat err.txt)"
  mkdir linked && ln -s nowhere linked/merged
  "$sft" "${run[@]}" --base-model qwen2 --steps 1 --out linked >out.txt 2>err.txt
  [ $? = 2 ] || fail "a link that leads nowhere was found after the training: $(cat err.txt)"
  [ ! -e linked/state.json ] || fail "a run that cannot be merged was trained"
  refused 2 "tinkex/nano is built in and has no files" "${small[@]}" --merge
  refused 2 "--merge: --base-model /no/such.gguf is no file or folder" --base-model /no/such.gguf --merge
  refused 2 "the adapter stays on the server" --base-url http://127.0.0.1:9 --merge
}

# What was trained is saved by then: the user is told how to merge it later.
test_failed_merge() {
  cp -L "$models/llama.gguf" broad.gguf
  printf '{"prompt": "%s>", "completion": "way"}\n' apple tea rice soap >broad.jsonl
  (
    ulimit -f 40 # For checkpoints, not for a model.
    exec "$sft" --rank 2 --batch-size 4 --threads 1 --data broad.jsonl --base-model broad.gguf \
      --steps 1 --out broad --merge >out.txt 2>err.txt
  )
  local code=$?
  [ "$code" = 1 ] || fail "exit code of a merge that fails: $code"
  grep -qi "file too large" err.txt || fail "a merge that fails: $(cat err.txt)"
  grep -q "^Merge: *sft --resume $PWD/broad --merge\$" out.txt ||
    fail "no word of how to merge later: $(cat out.txt)"
  "$sft" --resume broad --merge >/dev/null 2>err.txt || fail "to merge later: $(cat err.txt)"
}

# A run that is done is merged as it is, by the command that it prints at its end.
test_merge_later() {
  cp -rL "$models/models/qwen3" later
  printf '{"prompt": "%s>", "completion": "way"}\n' apple tea rice soap >later.jsonl
  "$sft" --rank 2 --batch-size 4 --threads 1 --data later.jsonl --base-model later --steps 1 \
    --dtype bfloat16 --out done >out.txt 2>err.txt || fail "a run to merge later: $(cat err.txt)"
  local said
  said=$(sed -n 's/^Merge: *sft //p' out.txt)
  [ "$said" = "--resume $PWD/done --merge" ] || fail "how to merge: $(cat out.txt)"
  cp done/state.json done/metrics.jsonl .
  # As a merge that was killed leaves it, and what is not such a thing.
  mkdir done/.tmp-0123456789abcdef done/.tmp-mine done/.tmp-sixteen-letters.
  : >done/.tmp-0123456789abcdef/model.safetensors
  # shellcheck disable=SC2086
  "$sft" $said >out.txt 2>err.txt || fail "to merge later: $(cat err.txt)"
  grep -q "^Merging step 1 of $PWD/done with $PWD/later " out.txt || fail "began: $(cat out.txt)"
  grep -q "^Merged: *$PWD/done/merged\$" out.txt || fail "where it is: $(cat out.txt)"
  [ ! -e done/.tmp-0123456789abcdef ] || fail "half a model has stayed"
  [ -e done/.tmp-mine ] && [ -e done/.tmp-sixteen-letters. ] ||
    fail "a folder that is nobody's draft was removed"
  grep -q "rounded to bfloat16" out.txt || fail "no word of bfloat16: $(cat out.txt)"
  grep -q '"dtype":"BF16"' <(head -c 4096 done/merged/model.safetensors) || fail "its weights"
  cmp done/state.json state.json && cmp done/metrics.jsonl metrics.jsonl || fail "the run changed"
  # shellcheck disable=SC2086
  "$sft" $said >/dev/null 2>err.txt
  [ $? = 2 ] || fail "a merged model was about to be replaced"
  "$sft" "${small[@]}" --steps 1 --out small >/dev/null || fail "a run of a small model"
  "$sft" --resume small --merge >/dev/null 2>err.txt
  [ $? = 2 ] || fail "a built-in model was merged"
  grep -q "is built in and has no files to merge into; leave the option out" err.txt ||
    fail "no reason: $(cat err.txt)"
}

# Without an option that names it: the model that bazelw fetched, or else the small one.
test_default_model() {
  mkdir -p cache/models
  TINKEX_CACHE=$PWD/cache "$sft" --steps 1 --batch-size 2 --rank 2 --threads 1 --out none >out.txt ||
    fail "without a fetched model"
  grep -q "^SmolLM2 was not fetched, so a small" out.txt || fail "no word of the small model: $(cat out.txt)"
  grep -q "^Model: *tinkex/tiny" out.txt || fail "the small model: $(cat out.txt)"
  cp -L "$models/llama.gguf" cache/models/SmolLM2-135M-Instruct.Q4_1.gguf
  printf '{"prompt": "%s>", "completion": "way"}\n' apple tea rice soap >few.jsonl
  TINKEX_CACHE=$PWD/cache "$sft" --steps 1 --rank 2 --threads 1 --data few.jsonl --out fetched >out.txt ||
    fail "with a fetched model"
  grep -q "^Model: *SmolLM2-135M-Instruct.Q4_1" out.txt || fail "the fetched model: $(cat out.txt)"
  TINKEX_CACHE=$PWD/none "$sft" --resume fetched --steps 2 --threads 1 >out.txt 2>err.txt ||
    fail "to go on with a fetched model: $(cat err.txt)"
}

# Ctrl-C while models load, or just after.
test_interrupt_while_loading() {
  cp -L "$models/llama.gguf" slow.gguf
  env --default-signal=INT "$server" --port 0 --base-model slow.gguf >loading.txt 2>err.txt &
  local pid=$!
  eventually "a server that loads" grep -q "^Loading slow.gguf" loading.txt
  kill -INT "$pid"
  ends "$pid" 0 "local_server after Ctrl-C while loading"
  grep -q "^Stopp" loading.txt || fail "no answer to Ctrl-C while loading: $(cat loading.txt)"
}

run_parts own_data pretrained merge failed_merge merge_later default_model \
  interrupt_while_loading
