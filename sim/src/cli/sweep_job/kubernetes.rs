//! The manifest of an Indexed Job of Kubernetes.

use std::fs;

use kernel::{cli::Failure, scenario::Scenario, visible::Visible};

use super::SweepJobArgs;

/// Most bytes of a ConfigMap.
const CONFIG_MAP_MAX: usize = 1 << 20;

/// Longest name of an object that also becomes part of the names of pods.
const NAME_MAX: usize = 50;

/// The exit codes of `sim` after which a shard is not played again: an expectation failed, the input is wrong, an invariant is violated.
const FINAL_CODES: &str = "[1, 2, 4]";

/// Returns the ConfigMap with the scenario and the calibration, and the Job.
pub(super) fn manifest(args: &SweepJobArgs, scenario: &Scenario) -> Result<String, Failure> {
    let name = object_name(&scenario.name);
    let calibration = args.conditions.times.as_ref().map(|file| {
        let text = fs::read_to_string(file);
        text.map_err(|error| Failure::wrong_input(format!("cannot read {}: {error}", file.visible())))
    });
    let mut files = vec![("scenario.toml", scenario.to_toml())];
    if let Some(text) = calibration {
        files.push(("calibration.toml", text?));
    }
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    if bytes > CONFIG_MAP_MAX {
        return Err(Failure::wrong_input(format!(
            "the scenario and its calibration have {bytes} bytes, and a ConfigMap has {CONFIG_MAP_MAX} at most; \
             put them into the image, and write the manifest by hand"
        )));
    }
    let has_calibration = files.len() > 1;
    let data: String = files.iter().map(|(file, text)| format!("  {file}: |\n{}", indented(text, 4))).collect();
    let place = args.folder(scenario);
    let folder = match args.store()? {
        Some(_) => place.clone(),
        None => format!("/volume/{}", place.trim_start_matches('/')),
    };
    let Storage { credentials, volume, merged } = Storage::for_job(args, &place)?;
    let shards = args.shards;
    let calibration = has_calibration.then_some("/scenario/calibration.toml");
    let mut words: Vec<String> =
        args.words("/scenario/scenario.toml", calibration).iter().map(|word| literal(word)).collect();
    words.extend(["--shard".to_owned(), format!("index:$(JOB_COMPLETION_INDEX)/{shards}")]);
    words.extend(["--out".to_owned(), format!("{}/shard-$(JOB_COMPLETION_INDEX)", literal(&folder))]);
    let words: String = words.iter().map(|word| format!("            - {}\n", string(word))).collect();
    Ok(format!(
        "# {title}
# Apply it with `kubectl apply -f FILE`. A shard whose runs do not all pass is a failed index, and has been played. When all have ended,
# {merged}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}
data:
{data}---
apiVersion: batch/v1
kind: Job
metadata:
  name: {name}
spec:
  completionMode: Indexed
  completions: {shards}
  parallelism: {shards}
  backoffLimitPerIndex: 3
  maxFailedIndexes: {shards}
  podFailurePolicy:
    rules:
      - action: FailIndex
        onExitCodes:
          operator: In
          values: {FINAL_CODES}
  template:
    spec:
      restartPolicy: Never
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        fsGroup: 65532
      containers:
        - name: sim
          image: {image}
          args:
{words}{credentials}          resources:
            requests:
              cpu: 1
              memory: 256Mi
          volumeMounts:
            - name: scenario
              mountPath: /scenario
              readOnly: true
            - name: volume
              mountPath: /volume
      volumes:
        - name: scenario
          configMap:
            name: {name}
        - name: volume
{volume}",
        title = args.title(scenario),
        image = string(&args.image),
    ))
}

/// Where the pods write to.
struct Storage {
    /// Lines of the container that give it credentials and a folder.
    credentials: String,
    /// The kind of the volume.
    volume: String,
    /// How the sweep is made of the shards, for a comment.
    merged: String,
}

impl Storage {
    fn for_job(args: &SweepJobArgs, place: &str) -> Result<Self, Failure> {
        let merge = args.merge(place);
        if args.store()?.is_none() {
            let claim = string(&args.claim);
            return Ok(Self {
                credentials: String::new(),
                volume: format!("          persistentVolumeClaim:\n            claimName: {claim}\n"),
                merged: format!("where the volume is mounted: {merge}"),
            });
        }
        // Without the secret, the role of the pod's service account may be enough.
        let credentials = "          workingDir: /volume\n          envFrom:\n            - secretRef:\n                name: rehearsal-store\n                optional: true\n";
        Ok(Self {
            credentials: credentials.to_owned(),
            volume: "          emptyDir: {}\n".to_owned(),
            merged: format!(
                "with the same credentials: {merge}\n\
                 # The image needs a `sim` with the feature object-store. The secret rehearsal-store has its environment variables, such as\n\
                 # AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION."
            ),
        })
    }
}

/// Returns a name that Kubernetes allows: lower case letters, digits and `-`, with a letter or digit at both ends.
fn object_name(scenario: &str) -> String {
    let name = format!("sweep-{scenario}").to_ascii_lowercase();
    let name = name.replace(|other: char| !other.is_ascii_alphanumeric(), "-");
    let name: String = name.chars().take(NAME_MAX).collect();
    name.trim_end_matches('-').to_owned()
}

/// Returns a word that Kubernetes passes on as it is: `$(NAME)` would be replaced.
fn literal(word: &str) -> String {
    word.replace("$(", "$$(")
}

/// Returns a string of YAML, whose double-quoted strings have the escapes of JSON's.
fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns the text with each of its lines indented by so many spaces.
fn indented(text: &str, spaces: usize) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{:spaces$}{line}\n", "") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kubernetes_allows() {
        assert_eq!(object_name("crash_then_freeze"), "sweep-crash-then-freeze");
        assert_eq!(object_name("Ünï."), "sweep--n");
        assert_eq!(object_name(&"x".repeat(300)).len(), NAME_MAX);
    }

    #[test]
    fn words_stay_as_they_are() {
        assert_eq!(string(&literal("a=\"$(X) é\"")), r#""a=\"$$(X) é\"""#);
    }
}
