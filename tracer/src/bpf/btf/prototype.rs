//! What functions and tracepoints are called with.

use super::{Btf, BtfError, Kind};

/// More parameters than any function that can be hooked has (12), or C code should have.
const MAX_PARAMETERS: usize = 64;

/// Names of a function's parameters, in order.
pub type Parameters<'a> = Vec<&'a str>;

impl<'a> Btf<'a> {
    /// The parameters of kernel functions, in the order of `names`, found in one pass. A `...` is
    /// one more, without a name.
    ///
    /// Fails for a name that several functions share (`static` ones may) if they differ.
    pub fn functions(&self, names: &[&str]) -> Vec<Result<Parameters<'a>, BtfError>> {
        let found = self.find(Kind::Function, names);
        let parameters = |(name, ids): (&&str, Vec<u32>)| {
            self.agreed_parameters(&ids, name)?
                .ok_or_else(|| BtfError::NoFunction((*name).to_owned()))
        };
        names.iter().zip(found).map(parameters).collect()
    }

    /// The parameters of one kernel function; [`Btf::functions`] is cheaper for several.
    pub fn function(&self, name: &str) -> Result<Parameters<'a>, BtfError> {
        let missing = || Err(BtfError::NoFunction(name.to_owned()));
        self.functions(&[name]).pop().unwrap_or_else(missing)
    }

    /// The parameters of a tracepoint as its `tp_btf` programs get them: without the `void *` that
    /// comes first in the kernel. Kernels leave them unnamed, so most names are empty.
    pub fn tracepoint(&self, name: &str) -> Result<Parameters<'a>, BtfError> {
        let typedefs = self.tracepoint_typedefs(name);
        let mut parameters = self
            .agreed_parameters(&typedefs, name)?
            .ok_or_else(|| BtfError::NoTracepoint(name.to_owned()))?;
        if parameters.is_empty() {
            return Err(damaged(name, "the first parameter is missing"));
        }
        parameters.remove(0);
        Ok(parameters)
    }

    /// Whether the kernel has the tracepoint, for programs of type `tp_btf`.
    pub fn has_tracepoint(&self, name: &str) -> bool {
        !self.tracepoint_typedefs(name).is_empty()
    }

    fn tracepoint_typedefs(&self, name: &str) -> Vec<u32> {
        let typedef = format!("btf_trace_{name}");
        self.find(Kind::Typedef, &[&typedef])
            .pop()
            .unwrap_or_default()
    }

    fn agreed_parameters(
        &self,
        ids: &[u32],
        name: &str,
    ) -> Result<Option<Parameters<'a>>, BtfError> {
        let mut agreed = None;
        for id in ids {
            let parameters = self.parameters(*id, name)?;
            if agreed.as_ref().is_some_and(|agreed| *agreed != parameters) {
                return Err(BtfError::Ambiguous(name.to_owned()));
            }
            agreed = Some(parameters);
        }
        Ok(agreed)
    }

    /// `id` is a function, or the typedef of a pointer to one.
    fn parameters(&self, id: u32, name: &str) -> Result<Parameters<'a>, BtfError> {
        let mut ty = self.type_by_id(self.type_by_id(id)?.head.size_or_type.get())?;
        if ty.head.kind() == Some(Kind::Pointer) {
            ty = self.type_by_id(ty.head.size_or_type.get())?;
        }
        if ty.head.kind() != Some(Kind::Prototype) || ty.head.count() > MAX_PARAMETERS {
            return Err(damaged(name, "no prototype"));
        }
        let parameters = ty
            .parameters()
            .ok_or_else(|| damaged(name, "parameters are missing"))?;
        parameters
            .iter()
            .map(|parameter| self.string(parameter.name.get()))
            .collect::<Option<_>>()
            .ok_or_else(|| damaged(name, "a parameter's name is missing"))
    }
}

fn damaged(name: &str, what: &'static str) -> BtfError {
    BtfError::Damaged {
        name: name.to_owned(),
        what,
    }
}
