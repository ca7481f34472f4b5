-- SPDX-License-Identifier: Apache-2.0
-- Events that came from Kafka: those whose records it still has, and those whose it does not keep any more.
SELECT count(*) FILTER (WHERE e.position >= r.first), count(*) FILTER (WHERE e.position < r.first)
FROM event e JOIN topic_range r USING (origin)
