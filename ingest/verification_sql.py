"""What the verification asks its workspace.

Its tables: ``j`` (readings of the journal), ``reading`` (those of the store), ``known`` (the points that are
looked at), ``kept`` (the time before which the store holds nothing any more).
"""

COUNTS = """
WITH seen AS (
  SELECT j.*, known.late, row_number() OVER w AS n,
    lag(value) OVER w IS NOT DISTINCT FROM value AND lag(quality) OVER w = quality AS same,
    row_number() OVER (PARTITION BY j.point, t ORDER BY record DESC, line DESC) = 1 AS newest
  FROM j JOIN known USING (point) WHERE t >= $start AND t < $end
  WINDOW w AS (PARTITION BY j.point, t ORDER BY record, line)
)
SELECT point, (t - $start) // $step AS slot, count(*), count(*) FILTER (n = 1),
  count(*) FILTER (n = 1 AND received - t > late), count(*) FILTER (n > 1 AND same),
  count(*) FILTER (n > 1 AND NOT same), count(*) FILTER (newest AND quality >= 128),
  count(*) FILTER (n = 1 AND record > $applied)
FROM seen GROUP BY ALL
"""
"""Of each point and interval: received, different, late, repeated, revised, bad and pending readings."""
APPLIED = """
CREATE TABLE applied AS
SELECT point, t, value, quality, record FROM j
WHERE t >= $start AND t < $end AND record <= $applied AND t >= (SELECT since FROM kept)
QUALIFY row_number() OVER (PARTITION BY point, t ORDER BY record DESC, line DESC) = 1
"""
"""The newest version of every reading that the store says it has applied."""
ABSENT = """
CREATE TABLE absent AS
SELECT a.point, a.t, a.value, a.quality, k.width, k.silence FROM applied a JOIN known k USING (point)
ANTI JOIN reading s ON s.point = a.point AND s.t_source = a.t
WHERE isnan(k.width) OR a.t >= (SELECT since FROM kept) + k.silence
"""
"""Those that it does not hold; one with a deadband may rest on one that retention has dropped since."""
_SAYS_THE_SAME = """
r.t > a.t - a.silence AND (abs(a.value - r.value) <= a.width
  OR (a.value IS NULL AND r.value IS NULL AND NOT isnan(a.width)))
"""
BEFORE = f"""
CREATE TABLE suppressed AS
SELECT a.point, a.t FROM absent a
ASOF JOIN (SELECT point, t_source AS t, value, quality FROM reading) r
  ON r.point = a.point AND r.quality = a.quality AND r.t < a.t
WHERE {_SAYS_THE_SAME}
"""  # noqa: S608  its own text
"""Most are explained by the stored reading before them, which is found quickly ..."""
EARLIER = f"""
INSERT INTO suppressed
SELECT DISTINCT a.point, a.t FROM (FROM absent ANTI JOIN suppressed USING (point, t)) a
JOIN (SELECT j.* FROM j SEMI JOIN reading s ON s.point = j.point AND s.t_source = j.t) r
  ON r.point = a.point AND r.quality = a.quality AND r.t < a.t AND {_SAYS_THE_SAME}
"""  # noqa: S608  its own text
"""... the others by one before that, or by a version of it that was revised since."""
COMPARED = """
SELECT point, (a.t - $start) // $step AS slot, count(*) FILTER (a.lost), count(*) FILTER (a.suppressed),
  count(*) FILTER (a.differing)
FROM (
  SELECT point, t, x.point IS NULL AS lost, x.point IS NOT NULL AS suppressed, false AS differing
  FROM absent LEFT JOIN suppressed x USING (point, t)
  UNION ALL
  SELECT a.point, a.t, false, false, true
  FROM applied a SEMI JOIN known USING (point) JOIN reading s ON s.point = a.point AND s.t_source = a.t
  WHERE s.value IS DISTINCT FROM a.value OR s.quality IS DISTINCT FROM a.quality
) a
GROUP BY ALL
"""
"""Of each point and interval: lost, suppressed and differing readings."""
