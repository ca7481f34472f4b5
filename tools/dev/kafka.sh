# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A real Apache Kafka, one node in KRaft mode, from Maven Central into a cache folder. For the tests, the
# benchmarks and for trying things; what it stores lives in a folder that the caller throws away.

KAFKA_VERSION=3.9.1

kafka_home() { echo "${XDG_CACHE_HOME:-$HOME/.cache}/tally/kafka-$KAFKA_VERSION"; }

# Brings the jars where they are not there yet. Fails where Maven Central cannot be reached.
kafka_fetch() {
    local home work
    home=$(kafka_home)
    [[ -d $home/jars ]] && return
    mkdir -p "$(dirname "$home")" && work=$(mktemp -d "$home.XXXXXX") || return
    kafka_pom >"$work/pom.xml"
    if ! timeout 600 mvn -B -q -Dstyle.color=never -f "$work/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$work/jars"; then
        rm -rf "$work"
        warn "Kafka $KAFKA_VERSION could not be fetched from Maven Central"
        return 1
    fi
    mv -T "$work" "$home" 2>/dev/null || rm -rf "$work" # somebody else may have been first
    [[ -d $home/jars ]]
}

kafka_pom() {
    cat <<POM
<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tally</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA_VERSION</version>
    </dependency>
    <dependency> <!-- for kafka-topics; the rest of what it brings is for Kafka Connect -->
      <groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$KAFKA_VERSION</version>
      <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
  <build>
    <plugins>
      <plugin><artifactId>maven-dependency-plugin</artifactId><version>3.6.1</version></plugin>
    </plugins>
  </build>
</project>
POM
}

kafka_settings() { # DIR PORT CONTROLLER_PORT
    cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$3
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
log.dirs=$1/data
auto.create.topics.enable=false
# nothing is deleted by age: the events of a test may be years old
log.retention.ms=-1
message.max.bytes=16777216
replica.fetch.max.bytes=16777216
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
num.network.threads=2
num.io.threads=4
PROPERTIES
}

KAFKA_JAVA=(java -Xms256m -Xmx512m -Djava.awt.headless=true
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn
    -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info
    -Dorg.slf4j.simpleLogger.showDateTime=true
    -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS)

# kafka_start DIR [PORT]: starts a broker that keeps everything in DIR (new) and waits until it answers.
# kafka_brokers DIR is its address, DIR/log its log.
kafka_start() {
    local dir=$1 port=${2:-} jars
    jars=$(kafka_home)/jars
    mkdir -p "$dir" || return
    [[ -n $port ]] || port=$(free_port) || return
    kafka_settings "$dir" "$port" "$(free_port)" >"$dir/server.properties" || return
    "${KAFKA_JAVA[@]}" -cp "$jars/*" kafka.tools.StorageTool format -c "$dir/server.properties" \
        -t dGFsbHktbG9jYWwta2Fmaw >"$dir/format.log" 2>&1 || {
        cat "$dir/format.log" >&2
        return 1
    }
    start_process "$dir/pid" "$dir/log" \
        "${KAFKA_JAVA[@]}" -cp "$jars/*" kafka.Kafka "$dir/server.properties"
    wait_for 60 kafka_settled "$dir"
    if kafka_answers "$dir"; then
        echo "127.0.0.1:$port" >"$dir/brokers"
    else
        tail -n 20 "$dir/log" >&2
        return 1
    fi
}

kafka_answers() { grep -q 'Kafka Server started' "$1/log"; }
kafka_settled() { kafka_answers "$1" || ! process_runs "$1/pid"; }
kafka_brokers() { cat "$1/brokers"; }
kafka_stop() { stop_process "$1/pid" 20; }

# kafka_topic DIR NAME [PARTITIONS]
kafka_topic() {
    "${KAFKA_JAVA[@]}" -XX:TieredStopAtLevel=1 -cp "$(kafka_home)/jars/*" org.apache.kafka.tools.TopicCommand \
        --bootstrap-server "$(kafka_brokers "$1")" --create --topic "$2" --partitions "${3:-4}"
}

# ---- ./dev kafka ----
cmd_kafka() {
    local port='' topics=() topic
    while (($#)); do
        case $1 in
        --port) port=${2:?--port needs a number} && shift 2 ;;
        --topic) topics+=("${2:?--topic needs NAME or NAME:PARTITIONS}") && shift 2 ;;
        *) bad_usage "kafka does not know '$1'" ;;
        esac
    done
    ((${#topics[@]})) || topics=(vm.lifecycle:4 tally.notices:1)
    need_packages "${PACKAGES_KAFKA[@]}"
    step "fetching Kafka $KAFKA_VERSION" kafka_fetch || die "no Kafka to be had"
    make_temp
    on_exit "kafka_stop '$TEMP/kafka'"
    step "starting Kafka" kafka_start "$TEMP/kafka" "$port" || die "Kafka did not start"
    for topic in "${topics[@]}"; do
        step "topic $topic" kafka_topic "$TEMP/kafka" "${topic%%:*}" "$([[ $topic == *:* ]] && echo "${topic##*:}" || echo 4)"
    done
    title "Kafka $KAFKA_VERSION runs at $(kafka_brokers "$TEMP/kafka") until Ctrl-C; then its data is gone."
    say "  export TALLY_KAFKA_BROKERS=$(kafka_brokers "$TEMP/kafka")"
    while process_runs "$TEMP/kafka/pid"; do sleep 1; done
    tail -n 20 "$TEMP/kafka/log"
    die "Kafka ended by itself"
}
